"""Claims: one builder compiles a kernel; the others ask again, and use what they find."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from events import EventLog
from small_kernels import small_kernel

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.job import Job, State
from kregistry.compile.schedule import Schedule
from kregistry.compile.stages import claim as module
from kregistry.compile.stages.claim import Claim
from kregistry.event_bus import EventBus
from kregistry.kernel import Kernel
from kregistry.store import Store
from kregistry.store.claims import Claims


@pytest.fixture
def job() -> Job:
    return Job(small_kernel("a"))


class Stage:
    """A claim stage, and what it did."""

    def __init__(self, store: Store) -> None:
        store.open()
        self.claims = Claims(store.directory / "claims")
        self.schedule = Schedule(1)
        self.known: list[Kernel] = []
        self.done: list[Job] = []
        self.log, events = EventLog(), EventBus()
        events.listen(self.log)
        self.flush = events.flush
        record = BuildRecord(events.hook)
        self.claim = Claim(self.claims, self.schedule, lambda kernel: kernel in self.known, self.done.append, record)

    def files(self) -> list[str]:
        return [path.name for path in self.claims.directory.iterdir()]


@pytest.fixture
def stage(store: Store) -> Stage:
    return Stage(store)


@pytest.fixture
def other(stage: Stage) -> Iterator[Claims]:
    with Claims(stage.claims.directory) as claims:
        yield claims


def never() -> None:
    raise AssertionError("asked again")


def test_a_job_is_claimed_until_it_is_done(stage: Stage, job: Job) -> None:
    assert stage.claim.take(job, again=never)
    assert (job.state, stage.files()) == (State.CLAIMED, [job.kernel.key])
    assert stage.claim.take(job, again=never), "for its next compiler"
    stage.claim.release(job)
    assert (stage.files(), stage.done) == ([], [job])


def test_what_is_settled_is_not_compiled(stage: Stage, job: Job) -> None:
    job.advance(State.SETTLED)
    assert not stage.claim.take(job, again=never)
    assert (stage.files(), stage.done) == ([], [])


def test_another_builder_is_asked_again(stage: Stage, job: Job, other: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later, by the schedule; its claim stays its own."""
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.001)
    assert other.acquire(job.kernel.key)
    asked = []
    assert not stage.claim.take(job, again=lambda: asked.append(job))
    assert (job.state, asked, stage.files(), stage.done) == (State.WAITING, [], [job.kernel.key], [])
    stage.schedule.start()
    stage.schedule.close()
    assert asked == [job]


@pytest.mark.parametrize("claimed", [False, True], ids=["not claimed", "claimed by another builder"])
def test_what_became_known_meanwhile_is_done(stage: Stage, job: Job, other: Claims, claimed: bool) -> None:
    assert not claimed or other.acquire(job.kernel.key)
    stage.known.append(job.kernel)
    assert not stage.claim.take(job, again=never)
    assert (job.state, stage.done) == (State.SETTLED, [job])
    assert stage.files() == [job.kernel.key] * claimed


def test_a_wait_is_reported_once_with_its_owner(
    stage: Stage, job: Job, other: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kregistry.compile.stages import claim as module

    other.acquire(job.kernel.key)
    assert not stage.claim.take(job, again=lambda: None)
    stage.flush()
    assert stage.log.calls == []
    monkeypatch.setattr(module, "_SILENT_SECONDS", -1.0)
    for _ in range(3):
        assert not stage.claim.take(job, again=lambda: None)
    stage.flush()
    owner = f"process {os.getpid()} on {socket.gethostname()}"
    assert stage.log.calls == [("kregistry_kernel_awaited", {"kernel": job.kernel, "owner": owner})]
