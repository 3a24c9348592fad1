"""The self-check: is what a shared front end makes the kernel that nvcc makes alone?

One sample of each family is compiled both ways and compared; until the two have been found the same, the family's other
cubins are kept back. With ``paranoid`` every kernel is a sample.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

from attrs import define, field, frozen

from kregistry.compile.nvcc import Compilation
from kregistry.compile.shared.comparison import difference
from kregistry.compile.shared.kernel_family import Family, Member
from kregistry.compile.shared.self_check_results import SelfCheckResults
from kregistry.kernel import Kernel


@frozen
class Use:
    """This is the kernel's cubin, or the failure that stands for it."""

    member: Member
    result: Compilation


@frozen
class CompileAlone:
    """The kernel is to be compiled by nvcc alone, if it is not yet; ``reason`` is empty for a sample."""

    member: Member
    reason: str


Action: TypeAlias = Use | CompileAlone


@define
class _Sample:
    member: Member
    alone: Compilation | None = None
    shared: Compilation | None = None


@define
class _State:
    """What is known of a family.

    Attributes:
        verdict: what differs, ``""`` if nothing does, ``None`` as long as nothing has been compared.
        samples: kernels that are compiled both ways, by key.
        kept_back: cubins that wait for the verdict.
        failed: samples that nvcc alone does not compile, by key: done, whatever a shared front end makes of them.
    """

    verdict: str | None
    samples: dict[str, _Sample] = field(factory=dict)
    kept_back: list[Use] = field(factory=list)
    failed: set[str] = field(factory=set)


class SelfCheck:
    """Decides which cubins are used; safe against threads.

    Args:
        memory: what earlier builds found.
        paranoid: whether every kernel is compared.
        on_compared: told what each comparison found.
    """

    def __init__(self, memory: SelfCheckResults, paranoid: bool, on_compared: Callable[[Kernel, str], None]) -> None:
        self._memory = memory
        self._paranoid = paranoid
        self._on_compared = on_compared
        self._states: dict[Family, _State] = {}
        self._lock = threading.RLock()

    def reason_not_shareable(self, family: Family) -> str:
        """Why this family's front ends are not shared; empty if they may be."""
        with self._lock:
            verdict = self._state(family).verdict
            return f"a shared front end made another kernel than nvcc alone: {verdict}" if verdict else ""

    def choose(self, members: Sequence[Member]) -> Sequence[Member]:
        """Which members, the cheapest first, are samples; each of them is to be compiled alone as well."""
        with self._lock:
            chosen: list[Member] = []
            for member in members:
                state = self._state(member.family)
                wanted = self._paranoid or (state.verdict is None and not state.samples)
                if wanted and member.kernel.key not in state.samples:
                    state.samples[member.kernel.key] = _Sample(member)
                    chosen.append(member)
            return chosen

    def shared(self, member: Member, result: Compilation) -> list[Action]:
        """A cubin from a shared front end."""
        with self._lock:
            state = self._state(member.family)
            if member.kernel.key in state.failed:
                return []
            sample = state.samples.get(member.kernel.key)
            if sample is not None:
                sample.shared = result
                return self._compare(state, sample)
            if state.verdict is None:
                if state.samples:
                    state.kept_back.append(Use(member, result))
                    return []
                state.samples[member.kernel.key] = _Sample(member, shared=result)
                return [CompileAlone(member, "")]
            if state.verdict:
                return [CompileAlone(member, self.reason_not_shareable(member.family))]
            return [Use(member, result)]

    def nothing_shared(self, member: Member, reason: str) -> list[Action]:
        """The shared front end made nothing of this kernel, or nothing that assembles."""
        with self._lock:
            state = self._state(member.family)
            sample = state.samples.pop(member.kernel.key, None)
            done: list[Action] = [Use(member, sample.alone)] if sample and sample.alone else []
            return [*done, CompileAlone(member, reason), *self._next_sample(state)]

    def alone(self, member: Member, result: Compilation) -> list[Action]:
        """What nvcc made alone of a kernel, a failure perhaps."""
        with self._lock:
            state = self._state(member.family)
            sample = state.samples.get(member.kernel.key)
            if sample is None:
                return [Use(member, result)]
            if result.failure:
                del state.samples[member.kernel.key]
                state.failed.add(member.kernel.key)
                return [Use(member, result), *self._next_sample(state)]
            sample.alone = result
            return self._compare(state, sample)

    def _state(self, family: Family) -> _State:
        if family not in self._states:
            self._states[family] = _State(self._memory.recall(family))
        return self._states[family]

    def _compare(self, state: _State, sample: _Sample) -> list[Action]:
        if sample.alone is None or sample.shared is None:
            return []
        member = sample.member
        found = difference(sample.shared.cubin, sample.alone.cubin)
        if state.verdict is None or (found and not state.verdict):
            state.verdict = found
            self._memory.remember(member.family, member.kernel, found)
        del state.samples[member.kernel.key]
        self._on_compared(member.kernel, found)
        kept_back, state.kept_back = state.kept_back, []
        reason_not_shareable = self.reason_not_shareable(member.family)
        released = [
            CompileAlone(use.member, reason_not_shareable) if reason_not_shareable else use for use in kept_back
        ]
        return [Use(member, sample.alone), *released]

    def _next_sample(self, state: _State) -> list[Action]:
        """Another sample where the last one came to nothing and cubins wait for a verdict."""
        if state.verdict is not None or state.samples or not state.kept_back:
            return []
        use = state.kept_back.pop()
        state.samples[use.member.kernel.key] = _Sample(use.member, shared=use.result)
        return [CompileAlone(use.member, "")]
