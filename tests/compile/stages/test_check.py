"""What the self-check decides is done: results are published, kernels are compiled alone, reasons are reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from families import family_job

from kregistry.compile.job import Job
from kregistry.compile.nvcc import Compilation
from kregistry.compile.shared.self_check import SelfCheck
from kregistry.compile.shared.self_check_results import SelfCheckResults
from kregistry.compile.stages.check import Check
from kregistry.toolchain import Toolchain

FAILED = Compilation(b"", 1.0, "nvcc kernel.cu", "kernel.cu(3): error: too large")


class Stage:
    """A check, and the stages around it."""

    def __init__(self, results: SelfCheckResults) -> None:
        self.stopped = False
        self.alone: list[tuple[Job, Callable[[Compilation], None]]] = []
        self.published: list[tuple[Job, Compilation]] = []
        self.said: list[str] = []
        alone: Any = SimpleNamespace(put=lambda job, then, compares: self.alone.append((job, then)))
        record: Any = SimpleNamespace(not_shared=lambda kernel, reason: self.said.append(reason))
        self_check = SelfCheck(results, False, lambda kernel, difference: None)
        self.check = Check(self_check, alone, self._publish, lambda: self.stopped, record)

    def _publish(self, job: Job, result: Compilation) -> None:
        self.published.append((job, result))


@pytest.fixture
def stage(toolchain: Toolchain, tmp_path: Path) -> Stage:
    return Stage(SelfCheckResults(tmp_path / "front_ends", toolchain.cuda.nvcc))


def test_a_sample_is_compiled_both_ways_and_releases_the_others(stage: Stage, tmp_path: Path, cubin: bytes) -> None:
    sample, other = (family_job(tmp_path, n) for n in (8, 16))
    shared, alone = Compilation(cubin, 1.0, "ptxas", front_end_seconds=0.5), Compilation(cubin, 2.0, "nvcc")
    assert stage.check.choose_samples([sample, other]) == [sample]
    ((job, then),) = stage.alone
    stage.check.shared(other, shared)
    stage.check.shared(sample, shared)
    assert (job, stage.published) == (sample, [])
    then(alone)
    assert (stage.published, stage.said) == ([(sample, alone), (other, shared)], [])


def test_a_kernel_without_ptx_is_compiled_alone_and_says_why(stage: Stage, tmp_path: Path) -> None:
    job = family_job(tmp_path, 8)
    stage.check.not_shared([job], "uses counter")
    ((sent, then),) = stage.alone
    then(FAILED)
    assert (sent, stage.said, stage.published) == (job, ["uses counter"], [(job, FAILED)])


def test_a_failure_of_a_stopped_build_says_nothing(stage: Stage, tmp_path: Path) -> None:
    stage.stopped = True
    stage.check.not_shared([family_job(tmp_path, 8)], "the shared front end failed: exit code -9")
    assert (stage.alone, stage.said, stage.published) == ([], [], [])
