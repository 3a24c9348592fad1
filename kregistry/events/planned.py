"""What a dry run found for one entry of a manifest."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from attrs import evolve, frozen

from kregistry.kernel_type import KernelType
from kregistry.manifest.model import Entry

CUBLASLT_REMARK = "nothing to compile: cuBLASLt"


@frozen
class Segment:
    """A maximal interval of run-time values served by the same kernels; ``stop`` is included."""

    start: int
    stop: int
    kernels: tuple[str, ...]


@frozen
class Refusal:
    """An interval of run-time values at which a call is refused.

    Attributes:
        start, stop: first and last value.
        reason: the message at the first value.
        by: file and line of the kernel type's code that refuses; empty if DeepGEMM does.
    """

    start: int
    stop: int
    reason: str
    by: str = ""

    @property
    def who(self) -> str:
        return f"the kernel type ({self.by})" if self.by else "DeepGEMM"


@frozen
class PlannedEntry:
    """One entry after the dry run.

    Attributes:
        entry: the call site.
        segments: they cover the range without gap or overlap, unless there are refusals or an error.
        refusals: where DeepGEMM, or the kernel type, refuses the call.
        error: why the entry could not be planned at all.
        nbytes: bytes of the largest buffers that warm-up needs for the entry.
        cublaslt: whether DeepGEMM passes calls on to cuBLASLt, which compiles nothing.
    """

    entry: Entry
    segments: tuple[Segment, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    error: str = ""
    nbytes: int = 0
    cublaslt: bool = False

    @property
    def ok(self) -> bool:
        return not self.error and not self.refusals

    def with_buffers(self, kernel_type: KernelType) -> PlannedEntry:
        """The same, with the bytes that its launches need."""
        points = self.launch_points()
        nbytes = kernel_type.memory_requirement(self.entry.shape, max(points)) if points else 0
        return evolve(self, nbytes=nbytes)

    def kernels(self) -> tuple[str, ...]:
        """Ids of the distinct kernels, in the order of their first use."""
        return tuple(dict.fromkeys(kernel for segment in self.segments for kernel in segment.kernels))

    def launch_points(self) -> tuple[int, ...]:
        """The smallest run-time values that together use every kernel of the entry, ascending."""
        return tuple(start for start, _ in self.first_uses())

    def first_uses(self, without: Collection[str] = ()) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Pairs (run-time value, kernels that no smaller value uses), ascending.

        Args:
            without: ids of kernels; values that need one of them are left out.
        """
        seen: set[str] = set()
        for segment in self.segments:
            if not set(without).isdisjoint(segment.kernels):
                continue
            new = tuple(kernel for kernel in dict.fromkeys(segment.kernels) if kernel not in seen)
            if new:
                seen.update(new)
                yield segment.start, new

    def spans_of(self, kernel_id: str) -> tuple[tuple[int, int], ...]:
        """The run-time values at which a kernel is used, as (first, last), ascending."""
        spans: list[tuple[int, int]] = []
        for segment in self.segments:
            if kernel_id in segment.kernels:
                follows = bool(spans) and spans[-1][1] + self.entry.range.step == segment.start
                start = spans.pop()[0] if follows else segment.start
                spans.append((start, segment.stop))
        return tuple(spans)

    def remark(self) -> str:
        """Why an entry without a kernel is correct; empty if it has kernels or a problem."""
        if not self.ok or self.kernels():
            return ""
        return CUBLASLT_REMARK if self.cublaslt else "nothing to compile"

    def problems(self) -> tuple[str, ...]:
        """The problems of the entry, one line each."""
        name = self.entry.range.name
        lines = [f"{self.entry}: {self.error}"] if self.error else []
        spans: dict[tuple[str, str], list[str]] = {}
        for refusal in self.refusals:
            spans.setdefault((refusal.who, refusal.reason), []).append(span(refusal.start, refusal.stop))
        lines += [
            f"{self.entry}: {who} refuses {name} {', '.join(each)}: {reason}" for (who, reason), each in spans.items()
        ]
        return tuple(lines)

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.entry.model,
            "type": self.entry.kernel_type,
            "label": self.entry.label,
            "shape": self.entry.shape.shown(),
            "range": self.entry.range.to_json(),
            "segments": [
                {"start": segment.start, "stop": segment.stop, "kernels": list(segment.kernels)}
                for segment in self.segments
            ],
            "refusals": [
                {"start": each.start, "stop": each.stop, "reason": each.reason, **({"by": each.by} if each.by else {})}
                for each in self.refusals
            ],
            "error": self.error or None,
            **({"remark": self.remark()} if self.remark() else {}),
        }


def span(start: int, stop: int) -> str:
    """``"3"`` or ``"3..8"``: an interval as tables and messages show it; ``stop`` is included."""
    return str(start) if start == stop else f"{start}..{stop}"
