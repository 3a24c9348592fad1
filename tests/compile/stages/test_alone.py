"""nvcc on its own: each job once, only when it is claimed, and no result of a compiler that was cut off."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from events import EventLog
from small_kernels import small_kernel

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.costs import Costs
from kregistry.compile.job import Job
from kregistry.compile.nvcc import Compilation, Nvcc
from kregistry.compile.schedule import Schedule
from kregistry.compile.shared.estimates import Estimates
from kregistry.compile.shared.sizes import KernelSizes
from kregistry.compile.stages import claim as claim_module
from kregistry.compile.stages.alone import Alone
from kregistry.compile.stages.claim import Claim
from kregistry.event_bus import EventBus
from kregistry.store import Store
from kregistry.store.claims import Claims


class Stage:
    """A compiler that writes down each call and fails, and the results that it gave."""

    def __init__(self, store: Store, tmp_path: Path) -> None:
        store.open()
        self.calls = tmp_path / "calls"
        self.calls.touch()
        nvcc = tmp_path / "nvcc"
        nvcc.write_text(f"#!/bin/sh\necho >> {self.calls}\nexit 3\n")
        nvcc.chmod(0o755)
        self.log, self.nvcc, self.schedule = EventLog(), Nvcc(nvcc), Schedule(2)
        self.events = EventBus()
        self.events.listen(self.log)
        self.record = BuildRecord(self.events.hook)
        self.claims = Claims(store.directory / "claims")
        claim = Claim(self.claims, self.schedule, lambda kernel: False, lambda job: None, self.record)
        estimates = Estimates(Costs(store.directory), KernelSizes(store.directory))
        self.alone = Alone(self.schedule, claim, self.nvcc, store.scratch, estimates, self.record)
        self.results: list[tuple[Job, Compilation]] = []

    def put(self, job: Job) -> None:
        self.alone.put(job, partial(self._receive, job))

    def _receive(self, job: Job, result: Compilation) -> None:
        self.results.append((job, result))

    def run(self) -> None:
        self.schedule.start()
        self.schedule.close()
        assert self.schedule.error is None


@pytest.fixture
def stage(store: Store, tmp_path: Path) -> Stage:
    return Stage(store, tmp_path)


def test_each_job_is_compiled_once(stage: Stage) -> None:
    jobs = [Job(small_kernel("a")), Job(small_kernel("b"))]
    for job in (*jobs, *jobs):
        stage.put(job)
    stage.run()
    assert sorted(job.kernel.name for job, _ in stage.results) == ["a", "b"]
    assert len(stage.calls.read_text()) == 2
    stage.events.flush()
    assert stage.log.names() == ["kregistry_compile_started"] * 2
    assert stage.record.compiling_seconds > 0


def test_a_job_of_another_builder_is_compiled_when_that_gave_it_up(
    stage: Stage, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a job that has been put once already is asked for again."""
    monkeypatch.setattr(claim_module, "_RETRY_SECONDS", 0.001)
    job = Job(small_kernel("a"))
    with Claims(stage.claims.directory) as other:
        assert other.acquire(job.kernel.key)
        stage.put(job)
        stage.schedule.put(0.0, partial(other.release, job.kernel.key), delay=0.05)
        stage.run()
    assert [each for each, _ in stage.results] == [job]


def test_a_compiler_that_was_cut_off_gives_no_result(stage: Stage) -> None:
    stage.nvcc.stop()
    stage.put(Job(small_kernel("a")))
    stage.run()
    assert (stage.results, stage.calls.read_text()) == ([], "")
