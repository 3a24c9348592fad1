"""Runs: neighbouring values with the same content, as one interval."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from attrs import frozen

T = TypeVar("T")


@frozen
class Run(Generic[T]):
    """Neighbouring values with the same content; ``stop`` is the last of them."""

    start: int
    stop: int
    content: T


def runs(values: Sequence[int], contents: Iterable[T]) -> list[Run[T]]:
    """Merge neighbouring values with equal content."""
    pairs = zip(values, contents)
    first = next(pairs, None)
    if first is None:
        return []
    merged: list[Run[T]] = []
    (start, current), last = first, first[0]
    for value, content in pairs:
        if content != current:
            merged.append(Run(start, last, current))
            start, current = value, content
        last = value
    return [*merged, Run(start, last, current)]


def libraries_of(raw: bytes) -> tuple[int, ...]:
    """The distinct libraries of the launches of one call (raw uint32), in the order of their first launch."""
    return tuple(dict.fromkeys(array("I", raw)))


def join(
    parts: Iterable[Sequence[Run[T]]], step: int = 1, kind: Callable[[T], object] = lambda content: content
) -> list[Run[T]]:
    """The runs of a range whose values have the distance ``step``, from those of its parts in order.

    Adjacent runs with content of one ``kind`` become one, with the content of the first. Runs with a gap between them
    do not.
    """
    joined: list[Run[T]] = []
    for part in parts:
        for run in part:
            if joined and kind(joined[-1].content) == kind(run.content) and joined[-1].stop + step == run.start:
                joined[-1] = Run(joined[-1].start, run.stop, joined[-1].content)
            else:
                joined.append(run)
    return joined
