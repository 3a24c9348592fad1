"""A build ends when every kernel that is on its way is done."""

from __future__ import annotations

from functools import partial

import pytest
from small_kernels import small_kernel

from kregistry.compile.job import Job
from kregistry.compile.open_jobs import OpenJobs
from kregistry.compile.schedule import Schedule, Standstill


def test_a_kernel_is_on_its_way_once() -> None:
    jobs = OpenJobs(Schedule(1))
    job = Job(small_kernel("a"))
    assert [jobs.open(job.kernel), jobs.open(job.kernel)] == [True, False]
    jobs.close(job)
    assert jobs.open(job.kernel)


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
        assert jobs.open(job.kernel)
        schedule.put(1.0, partial(close, job))
    schedule.start()
    jobs.wait()
    assert closed == made
    schedule.close()


def test_a_job_that_a_stage_has_lost_ends_the_build_with_its_name() -> None:
    schedule = Schedule(2)
    jobs = OpenJobs(schedule)
    made, lost = Job(small_kernel("a")), Job(small_kernel("b", "// b\n"))
    for job in made, lost:
        assert jobs.open(job.kernel)
    schedule.put(1.0, partial(jobs.close, made))
    schedule.start()
    with pytest.raises(Standstill) as caught:
        jobs.wait()
    assert str(caught.value).endswith(f": {lost.kernel.id}")
    schedule.close()


def test_of_many_jobs_some_are_named() -> None:
    schedule = Schedule(1)
    jobs = OpenJobs(schedule)
    for number in range(23):
        jobs.open(small_kernel("k", f"// {number}\n"))
    schedule.start()
    with pytest.raises(Standstill, match=r"( k\.[0-9a-f]{16},?){20} and 3 more\Z"):
        jobs.wait()
    schedule.close()
