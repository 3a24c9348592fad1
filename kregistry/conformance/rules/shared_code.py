"""Rule for code that launch and reference share: what it does wrong is wrong in both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import CodeType, FrameType
from typing import Any

from kregistry.call_watch import watching_calls
from kregistry.conformance.author_code import is_authors
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import NotApplicable, RuleViolation, rule
from kregistry.conformance.rules.numerics import device_shapes, filled_with_reference
from kregistry.deep_gemm.settings import applied
from kregistry.kernel_type import Shape


@rule("KR323", "launch and reference share no computation", needs=("KR127", "KR301"), on_device=True)
def shared_code(subject: KernelTypeUnderTest) -> None:
    """Functions of the author that both call, and that return floats of the size of a result."""
    if subject.device != "cpu":
        raise NotApplicable("it is checked on a CPU only")
    m = subject.at("tail")
    shapes = device_shapes(subject)
    # In one shape an operand may have the size of a result.
    shared = set.intersection(*(_shared(subject, shape, m) for shape in shapes))
    for code in sorted(shared, key=lambda each: each.co_name):
        got = f"a call of {code.co_name}() ({code.co_filename}:{code.co_firstlineno}), which the launch calls too"
        wanted = "a computation of its own: what the shared one does wrong agrees with itself"
        raise RuleViolation(f"reference(buffers, m={m})", got, wanted, location(shapes[0], m))


def _shared(subject: KernelTypeUnderTest, shape: Shape, m: int) -> set[CodeType]:
    kernel_type = subject.kernel_type
    buffers, wanted = filled_with_reference(subject, shape, m, 97)
    sizes = {each.numel() for each in wanted.values()}
    call = kernel_type.arguments(buffers, m)
    with applied(kernel_type, shape):
        launched = _computed(partial(kernel_type.function(), *call.args, **call.kwargs), sizes)
    return launched & _computed(partial(kernel_type.reference, buffers, m), sizes)


def _computed(action: Callable[[], object], sizes: set[int]) -> set[CodeType]:
    """The functions of the author that an action calls, and that return floats of one of the sizes."""
    with _returns(sizes) as found:
        action()
    return found


@contextmanager
def _returns(sizes: set[int]) -> Iterator[set[CodeType]]:
    import torch

    found: set[CodeType] = set()

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event != "return" or not isinstance(argument, torch.Tensor) or not is_authors(frame.f_code.co_filename):
            return
        if argument.is_floating_point() and argument.numel() in sizes:
            found.add(frame.f_code)

    with watching_calls(watch):
        yield found
