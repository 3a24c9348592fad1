"""From one record a value to segments."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import TypeVar

from attrs import frozen

T = TypeVar("T")


@frozen
class Run:
    """Neighbouring values with the same content."""

    start: int
    stop: int
    content: object


def runs(values: Sequence[int], contents: Iterable[object]) -> list[Run]:
    """Merge neighbours with equal content."""
    merged: list[Run] = []
    start = previous_value = 0
    previous: object = None
    for index, (value, content) in enumerate(zip(values, contents)):
        if index == 0:
            start, previous = value, content
        elif content != previous:
            merged.append(Run(start, previous_value, previous))
            start, previous = value, content
        previous_value = value
    if values:
        merged.append(Run(start, previous_value, previous))
    return merged


def libraries_of(raw: bytes) -> tuple[int, ...]:
    """The distinct libraries of one call's launches, in the order of their first launch."""
    return tuple(dict.fromkeys(array("I", raw)))


def join(parts: Iterable[Sequence[Run]], step: int = 1) -> list[Run]:
    """Join the runs of the parts of a range; runs that meet with equal content become one, those with a gap do not."""
    joined: list[Run] = []
    for part in parts:
        for run in part:
            if joined and joined[-1].content == run.content and joined[-1].stop + step == run.start:
                joined[-1] = Run(joined[-1].start, run.stop, run.content)
            else:
                joined.append(run)
    return joined
