"""One entry of a manifest in a dry run: cut into parts, and planned when all parts are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from attrs import define, field, frozen

from kregistry.events.planned import PlannedEntry, Refusal, Segment
from kregistry.kernel_type import KernelType
from kregistry.manifest import Entry
from kregistry.stub.protocol import SweepJob, Swept
from kregistry.stub.refusing import RefusalCause
from kregistry.stub.segments import Run, join

T = TypeVar("T")
#: The most values of a part, so that all cores have work until the end.
_VALUES_PER_PART = 16384


@frozen
class Sweep:
    """An entry and the kernel type that it calls.

    Attributes:
        entry: the call site.
        kernel_type: what it calls.
        provider: the plugin of the kernel type and its distribution, for messages.
    """

    entry: Entry
    kernel_type: KernelType
    provider: str = ""


@frozen
class Part:
    """Some neighbouring values of an entry.

    Attributes:
        sweep: number of the sweep.
        number: of the part in its sweep.
        values: run-time values.
    """

    sweep: int
    number: int
    values: range

    def job(self, entry: Entry, kernel_type: str) -> SweepJob:
        """The job for a process; ``kernel_type`` is pickled."""
        return SweepJob(kernel_type, dict(entry.shape), self.values[0], self.values[-1], self.values.step)


def cut(sweeps: Sequence[Sweep]) -> list[Part]:
    """The parts of all sweeps, short ones first: grouped kernels, which take longest to compile, are found early."""
    parts = [
        Part(index, number, values[first : first + _VALUES_PER_PART])
        for index, values in enumerate(sweep.entry.range.values() for sweep in sweeps)
        for number, first in enumerate(range(0, len(values), _VALUES_PER_PART))
    ]
    return sorted(parts, key=lambda part: len(part.values))


@define
class PartialEntry:
    """What is known of one entry so far; its parts may arrive in any order.

    Attributes:
        sweep: the entry and its kernel type.
        parts: how many parts there are.
    """

    sweep: Sweep
    parts: int
    _segments: dict[int, list[Run[tuple[str, ...]]]] = field(factory=dict)
    _refusals: dict[int, Sequence[Run[RefusalCause]]] = field(factory=dict)
    _error: str = ""
    _cublaslt: bool = False

    def add(self, number: int, answer: Swept, kernels: Mapping[int, str]) -> None:
        """Take the answer for one part; ``kernels`` are the ids of the libraries that it names."""
        error = answer.error
        if answer.by_plugin and self.sweep.provider:
            error = f"the plugin {self.sweep.provider} is wrong: {error}"
        self._error = self._error or error
        self._cublaslt = self._cublaslt or answer.cublaslt
        self._segments[number] = [
            Run(run.start, run.stop, tuple(kernels[library] for library in run.content)) for run in answer.segments
        ]
        self._refusals[number] = answer.refusals

    @property
    def complete(self) -> bool:
        return len(self._segments) == self.parts

    def planned(self) -> PlannedEntry:
        """The parts put together."""
        entry, kernel_type = self.sweep.entry, self.sweep.kernel_type
        step = entry.range.step
        segments = tuple(Segment(run.start, run.stop, run.content) for run in join(_in_order(self._segments), step))
        refused = join(_in_order(self._refusals), step, lambda each: each.kind)
        refusals = tuple(Refusal(run.start, run.stop, run.content.reason, run.content.by) for run in refused)
        planned = PlannedEntry(entry, segments, refusals, self._error, cublaslt=self._cublaslt)
        return planned.with_buffers(kernel_type)


def _in_order(parts: Mapping[int, T]) -> Iterator[T]:
    return (parts[number] for number in sorted(parts))
