"""What the self-check decides is done: results are published, kernels are compiled alone, reasons are reported."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve
from families import family_job

from kregistry.compile.job import Job, State
from kregistry.compile.nvcc import Compilation
from kregistry.compile.shared.family_job import FamilyJob
from kregistry.compile.shared.self_check import SelfCheck
from kregistry.compile.shared.self_check_results import SelfCheckResults
from kregistry.compile.stages.check import CheckResults
from kregistry.toolchain import Toolchain

FAILED = Compilation(b"", 1.0, "nvcc kernel.cu", "kernel.cu(3): error: too large")


class Stage:
    """A check, and the stages around it."""

    def __init__(self, results: SelfCheckResults, paranoid: bool = False) -> None:
        self.stopped = False
        self.alone: list[tuple[Job, Callable[[Compilation], None]]] = []
        self.published: list[tuple[Job, Compilation]] = []
        self.said: list[str] = []
        alone: Any = SimpleNamespace(put=lambda job, then, compares: self.alone.append((job, then)))
        record: Any = SimpleNamespace(not_shared=lambda kernel, reason: self.said.append(reason))
        self_check = SelfCheck(results, paranoid, lambda kernel, difference: None)
        self.check = CheckResults(self_check, alone, self._publish, lambda: self.stopped, record)

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


class Build:
    """Five kernels of one family in three front ends, whose compilers end in an order of chance.

    Args:
        fails: whether nvcc alone fails on a kernel, by its number.
    """

    def __init__(
        self, stage: Stage, jobs: Sequence[FamilyJob], fails: Callable[[int], bool], order: random.Random
    ) -> None:
        self.stage, self.jobs, self.fails, self.order = stage, jobs, fails, order
        self.running: list[Callable[[], None]] = [
            partial(self._front_end_ends, group) for group in (jobs[:1], jobs[1:3], jobs[3:])
        ]

    def run(self, cubin: bytes) -> None:
        """The first kernel is sent to nvcc at once, while the headers are parsed."""
        self.alone, self.shared = Compilation(cubin, 2.0, "nvcc"), Compilation(cubin, 1.0, "ptxas", "", 0.5)
        self.stage.check.choose_samples(self.jobs[:1])
        self._start_nvcc()
        while self.running:
            self.running.pop(self.order.randrange(len(self.running)))()
            self._start_nvcc()

    def _start_nvcc(self) -> None:
        for job, then in self.stage.alone:
            if job.send_to_nvcc():  # as Alone does
                result = FAILED if self.fails(self.jobs.index(job)) else self.alone
                self.running.append(partial(then, result))
        self.stage.alone.clear()

    def _front_end_ends(self, group: Sequence[FamilyJob]) -> None:
        self.stage.check.choose_samples(group)
        self.running.extend(partial(self._assembler_ends, job) for job in group)

    def _assembler_ends(self, job: FamilyJob) -> None:
        if self.order.random() < 0.2:
            self.stage.check.not_shared([job], "the assembler failed")
        else:
            self.stage.check.shared(job, self.shared)


@pytest.mark.parametrize("paranoid", [False, True], ids=["one sample", "every kernel"])
@pytest.mark.parametrize(
    "fails",
    [lambda n: False, lambda n: n == 0, lambda n: n != 2, lambda n: True],
    ids=["none fails", "the first fails", "all but one fail", "all fail"],
)
def test_in_whatever_order_compilers_end_each_kernel_is_published(
    toolchain: Toolchain, tmp_path: Path, cubin: bytes, fails: Callable[[int], bool], paranoid: bool
) -> None:
    """None waits for ever for a sample of which nothing will be heard, and no cubin is used that was not compared."""
    made = [family_job(tmp_path, 8 * n) for n in range(1, 6)]
    for seed in range(60):
        stage = Stage(SelfCheckResults(tmp_path / f"front_ends-{seed}", toolchain.cuda.nvcc), paranoid)
        jobs = [evolve(job) for job in made]
        Build(stage, jobs, fails, random.Random(seed)).run(cubin)
        published = [(job, result) for job, result in stage.published if job.advance(State.SETTLED)]
        assert sorted(job.kernel.key for job, _ in published) == sorted(job.kernel.key for job in jobs), seed
        if all(fails(n) for n in range(len(jobs))):
            assert all(result.failure for _, result in published), seed
