"""A build ends when every kernel that is on its way is done."""

from __future__ import annotations

from functools import partial

from small_kernels import small_kernel

from kregistry.compile.job import Job
from kregistry.compile.open_jobs import OpenJobs
from kregistry.compile.schedule import Schedule


def test_a_kernel_is_on_its_way_once() -> None:
    jobs = OpenJobs(Schedule(1))
    job = Job(small_kernel("a"))
    assert [jobs.open(job.kernel.key), jobs.open(job.kernel.key)] == [True, False]
    jobs.close(job)
    assert jobs.open(job.kernel.key)


def test_waiting_ends_with_the_last_job() -> None:
    schedule = Schedule(1)
    jobs = OpenJobs(schedule)
    jobs.wait()
    made = [Job(small_kernel("a")), Job(small_kernel("b", "// b\n"))]
    closed = []

    def close(job: Job) -> None:
        closed.append(job)
        jobs.close(job)

    for job in made:
        assert jobs.open(job.kernel.key)
        schedule.put(1.0, partial(close, job))
    schedule.start()
    jobs.wait()
    assert closed == made
    schedule.close()
