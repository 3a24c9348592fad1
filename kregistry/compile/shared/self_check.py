"""The self-check: does a shared front end make the same kernel as nvcc alone?

One sample of each family is compiled both ways and compared. Until the two are found to be the same, the other cubins
of the family are kept back. With ``paranoid`` every kernel is a sample.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

from attrs import define, field, frozen

from kregistry.compile.nvcc import Compilation
from kregistry.compile.shared.comparison import difference
from kregistry.compile.shared.family_job import FamilyJob
from kregistry.compile.shared.kernel_family import KernelFamily
from kregistry.compile.shared.self_check_results import KnownResult, SelfCheckResults
from kregistry.kernel import Kernel


@frozen
class Use:
    """Publish this result of a job: its cubin, or its failure."""

    job: FamilyJob
    result: Compilation


@frozen
class CompileAlone:
    """Let nvcc compile a job on its own, unless it does already; ``reason`` is empty for a sample."""

    job: FamilyJob
    reason: str


Action: TypeAlias = Use | CompileAlone


@define
class _Sample:
    job: FamilyJob
    alone: Compilation | None = None
    shared: Compilation | None = None


@define
class _State:
    """What is known about a family.

    Attributes:
        verdict: what differs, ``""`` if nothing does, ``None`` as long as nothing has been compared.
        samples: jobs that are compiled both ways, by key of the kernel.
        kept_back: cubins that wait for the verdict.
        failed: keys of samples that nvcc alone does not compile: done, whatever the shared front end makes of them.
    """

    verdict: str | None
    samples: dict[str, _Sample] = field(factory=dict)
    kept_back: list[Use] = field(factory=list)
    failed: set[str] = field(factory=set)


class SelfCheck:
    """Decides which results are published. Safe against threads.

    Args:
        results: what earlier builds found.
        paranoid: whether every kernel is compared.
        on_compared: called with each kernel that was compared, and what differs.
        on_known: called with each family that was compared before, and what was found.
    """

    def __init__(
        self,
        results: SelfCheckResults,
        paranoid: bool,
        on_compared: Callable[[Kernel, str], None],
        on_known: Callable[[KernelFamily, KnownResult], None] = lambda family, known: None,
    ) -> None:
        self._results = results
        self._paranoid = paranoid
        self._on_compared = on_compared
        self._on_known = on_known
        self._states: dict[KernelFamily, _State] = {}
        self._lock = threading.RLock()

    def reason_not_shareable(self, family: KernelFamily) -> str:
        """Why the front ends of this family are not shared; empty if they may be."""
        with self._lock:
            verdict = self._state(family).verdict
            return f"a shared front end made another kernel than nvcc alone: {verdict}" if verdict else ""

    def choose(self, jobs: Sequence[FamilyJob]) -> Sequence[FamilyJob]:
        """Choose the samples among some jobs, cheapest first; the caller lets nvcc compile each sample alone too.

        A job that nvcc alone has failed on meanwhile is not chosen: nvcc would not be heard of again, and the cubins
        kept back for it would wait for ever.
        """
        with self._lock:
            chosen: list[FamilyJob] = []
            for job in jobs:
                state = self._state(job.member.family)
                wanted = self._paranoid or (state.verdict is None and not state.samples)
                if wanted and job.kernel.key not in state.samples and job.kernel.key not in state.failed:
                    state.samples[job.kernel.key] = _Sample(job)
                    chosen.append(job)
            return chosen

    def shared(self, job: FamilyJob, result: Compilation) -> list[Action]:
        """What follows from a cubin of a shared front end."""
        with self._lock:
            state = self._state(job.member.family)
            if job.kernel.key in state.failed:
                return []
            sample = state.samples.get(job.kernel.key)
            if sample is not None:
                sample.shared = result
                return self._compare(state, sample)
            if state.verdict is None:
                if state.samples:
                    state.kept_back.append(Use(job, result))
                    return []
                state.samples[job.kernel.key] = _Sample(job, shared=result)
                return [CompileAlone(job, "")]
            if state.verdict:
                return [CompileAlone(job, self.reason_not_shareable(job.member.family))]
            return [Use(job, result)]

    def nothing_shared(self, job: FamilyJob, reason: str) -> list[Action]:
        """What follows if the shared front end produced no usable PTX for a kernel, or PTX that does not assemble."""
        with self._lock:
            state = self._state(job.member.family)
            sample = state.samples.pop(job.kernel.key, None)
            done: list[Action] = [Use(job, sample.alone)] if sample and sample.alone else []
            return [*done, CompileAlone(job, reason), *self._next_sample(state)]

    def alone(self, job: FamilyJob, result: Compilation) -> list[Action]:
        """What follows from the result of nvcc alone, which may be a failure."""
        with self._lock:
            state = self._state(job.member.family)
            sample = state.samples.get(job.kernel.key)
            if sample is None:
                return [Use(job, result)]
            if result.failure:
                del state.samples[job.kernel.key]
                state.failed.add(job.kernel.key)
                return [Use(job, result), *self._next_sample(state)]
            sample.alone = result
            return self._compare(state, sample)

    def _state(self, family: KernelFamily) -> _State:
        if family not in self._states:
            known = self._results.recall(family)
            self._states[family] = _State(None if known is None else known.difference)
            if known is not None:
                self._on_known(family, known)
        return self._states[family]

    def _compare(self, state: _State, sample: _Sample) -> list[Action]:
        if sample.alone is None or sample.shared is None:
            return []
        job = sample.job
        found = difference(sample.shared.cubin, sample.alone.cubin)
        if state.verdict is None or (found and not state.verdict):
            state.verdict = found
            self._results.remember(job.member.family, job.kernel, found)
        del state.samples[job.kernel.key]
        self._on_compared(job.kernel, found)
        kept_back, state.kept_back = state.kept_back, []
        reason = self.reason_not_shareable(job.member.family)
        released = [CompileAlone(use.job, reason) if reason else use for use in kept_back]
        return [Use(job, sample.alone), *released]

    def _next_sample(self, state: _State) -> list[Action]:
        """Choose another sample if the last one failed and cubins wait for a verdict."""
        if state.verdict is not None or state.samples or not state.kept_back:
            return []
        use = state.kept_back.pop()
        state.samples[use.job.kernel.key] = _Sample(use.job, shared=use.result)
        return [CompileAlone(use.job, "")]
