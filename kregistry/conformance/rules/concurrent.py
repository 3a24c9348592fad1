"""Rule for launches of two threads: each computes as if it were alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from kregistry.call_watch import watching_calls
from kregistry.conformance.author_code import is_authors
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import rule
from kregistry.conformance.rules.numerics import compare_results, device_shapes, filled_with_reference
from kregistry.conformance.trial import results_of, synchronize
from kregistry.deep_gemm.settings import applied
from kregistry.kernel_type import Buffers, Shape

if TYPE_CHECKING:
    import torch

#: Places of a launch at which the other one is made, at most.
_PLACES = 24


@rule("KR318", "launches of two threads do not disturb each other", needs=("KR310", "KR317"), on_device=True)
def two_threads(subject: KernelTypeUnderTest) -> None:
    """Where another thread might run, launch in other buffers: at calls and returns of the author's code, one by one.

    Threads change places by chance only; a second launch in the middle of the first does the same each time.
    """
    shape = min(device_shapes(subject), key=lambda each: subject.kernel_type.memory_requirement(each, 1))
    for n in dict.fromkeys((subject.at("tail"), subject.at("one"))):
        _check(subject, shape, subject.at("tail"), n)


def _check(subject: KernelTypeUnderTest, shape: Shape, m: int, n: int) -> None:
    """One launch at ``m`` for each place, with a launch at ``n`` in its middle."""
    count = _events_of(subject, shape, m)
    for place in sorted({i * count // _PLACES for i in range(_PLACES)}) if count else ():
        first, wanted = filled_with_reference(subject, shape, m, 91)
        second, other_wanted = filled_with_reference(subject, shape, n, 92)
        others: list[object] = []
        launch = partial(subject.kernel_type.execute, second, n)
        interrupt = partial(_launch_at, place, itertools.count(), others, launch)
        with applied(subject.kernel_type, shape), _at_each_event(interrupt):
            value = subject.kernel_type.execute(first, m)
        synchronize(subject.device)
        _compare(subject, first, m, value, wanted, " of a launch that another thread interrupts")
        for other in others:
            _compare(subject, second, n, other, other_wanted, " of a launch in the middle of another")


def _launch_at(place: int, events: Iterator[int], values: list[object], launch: Callable[[], object]) -> None:
    """Launch once, at one of the events, and keep what comes back."""
    if next(events) == place:
        values.append(launch())


def _events_of(subject: KernelTypeUnderTest, shape: Shape, m: int) -> int:
    """Calls and returns of the author's code in one launch."""
    buffers, _ = filled_with_reference(subject, shape, m, 90)
    seen = list[None]()
    with applied(subject.kernel_type, shape), _at_each_event(lambda: seen.append(None)):
        subject.kernel_type.execute(buffers, m)
    synchronize(subject.device)
    return len(seen)


def _compare(
    subject: KernelTypeUnderTest,
    buffers: Buffers,
    m: int,
    value: object,
    wanted: Mapping[str, torch.Tensor],
    words: str,
) -> None:
    results, limit = results_of(subject.kernel_type, buffers, m, value), subject.kernel_type.proof.tolerance
    compare_results(results, wanted, limit, location(buffers.shape, m), words)


@contextmanager
def _at_each_event(action: Callable[[], None]) -> Iterator[None]:
    """Run an action at each call and return in the author's code. Python does not watch the action itself."""

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if is_authors(frame.f_code.co_filename):
            action()

    with watching_calls(watch):
        yield
