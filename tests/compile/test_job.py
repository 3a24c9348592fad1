"""A job goes forward only, and of several threads one takes each step."""

from __future__ import annotations

import threading

from small_kernels import small_kernel

from kregistry.compile.job import Job, State


def test_a_job_goes_forward_only() -> None:
    job = Job(small_kernel("a"))
    assert job.state is State.WAITING
    assert job.advance(State.COMPILING)
    assert not job.advance(State.CLAIMED)
    assert not job.advance(State.COMPILING)
    assert job.state is State.COMPILING
    assert job.advance(State.SETTLED)


def test_of_several_threads_one_takes_a_step() -> None:
    job = Job(small_kernel("a"))
    barrier = threading.Barrier(8)
    took: list[tuple[bool, bool]] = []

    def take() -> None:
        barrier.wait()
        took.append((job.advance(State.SETTLED), job.send_to_nvcc()))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sum(column) for column in zip(*took)] == [1, 1]


def test_jobs_of_one_kernel_are_equal_wherever_they_are() -> None:
    one, other = Job(small_kernel("a")), Job(small_kernel("a"))
    other.advance(State.CLAIMED)
    assert one == other != Job(small_kernel("b"))
