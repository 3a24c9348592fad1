"""Rule for what is read from a call: sizes, and not how far apart the rows of a tensor lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.conformance.rules.calls import settings_of
from kregistry.kernel_type import Buffers, Call, KernelType, Shape

if TYPE_CHECKING:
    import torch

#: Columns between the end of a row and the next one.
_GAP = 16


@rule("KR141", "a call is read by sizes, not by strides", needs=("KR114", "KR115"))
def wider_tensors(subject: KernelTypeUnderTest) -> None:
    """Each buffer in turn as the first columns of a wider tensor: the call reads as before, or is unknown."""
    kernel_type, m, rows = subject.kernel_type, subject.at("tail"), subject.at("largest")
    for shape in subject.every_shape:
        buffers = subject.meta_buffers(shape, rows)
        with subject.applied(shape):
            wanted = _read(kernel_type, shape, kernel_type.arguments(buffers, m))
            for name, spec in kernel_type.buffers(shape, rows).items():
                if len(spec.shape) > 1 and spec.strides is None:
                    moved = Buffers(shape, rows, {**buffers.tensors, name: _wider(buffers.tensors[name])})
                    _check(kernel_type, moved, m, name, wanted)


def _check(kernel_type: KernelType, moved: Buffers, m: int, name: str, wanted: tuple[Shape, int]) -> None:
    try:
        found = _read(kernel_type, moved.shape, kernel_type.arguments(moved, m))
    except Exception:  # any: such a tensor is refused, and recognition passes the call over
        return
    for what, got, expected in zip(("read_shape()", "read_m()"), found, wanted):
        if got != expected:
            words = f"{what} of a call with {name!r} as columns of a wider tensor"
            raise RuleViolation(words, got, f"{expected}, as without the gap", location(moved.shape, m))


def _read(kernel_type: KernelType, shape: Shape, call: Call) -> tuple[Shape, int]:
    read: dict[str, Any] = {**settings_of(kernel_type, shape), **kernel_type.read_shape(*call.args, **call.kwargs)}
    return kernel_type.resolve(read, shape.target), kernel_type.read_m(*call.args, **call.kwargs)


def _wider(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.new_empty((*tensor.shape[:-1], tensor.shape[-1] + _GAP))[..., : tensor.shape[-1]]
