"""Debug mode: does a call have the tensors that its kernel type declares?

The kernel type's own buffers, on torch's meta device, give the call that warm-up would make for the same dimensions;
a real call must have the same structure, dtypes and sizes. Nothing is copied from the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kregistry.errors import ArgumentError
from kregistry.kernel_type import Call, KernelType, Shape, Value
from kregistry.target import Target

if TYPE_CHECKING:
    import torch

#: Enough to tell which sizes depend on the run-time value: buffers may be padded to 128 rows.
_MORE = 256


def check_call(
    kernel_type: KernelType,
    target: Target,
    shape: Mapping[str, Value],
    m: int,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    """
    Raises:
        ShapeError: a dimension that the kernel type refuses on this target.
        ArgumentError: all tensors that differ from the declaration.
    """
    resolved = kernel_type.resolve(shape, target)
    expected, larger = _call(kernel_type, resolved, m), _call(kernel_type, resolved, m + _MORE)
    problems = [
        problem
        for position, (want, more, got) in enumerate(zip(expected.args, larger.args, args))
        for problem in _differences(f"argument {position + 1}", want, more, got)
    ]
    # What the engine passes beyond the declaration (recipe=None ...) is its own affair.
    for name in sorted(expected.kwargs.keys() & kwargs.keys()):
        problems += _differences(f"argument {name}", expected.kwargs[name], larger.kwargs[name], kwargs[name])
    if problems:
        raise ArgumentError(kernel_type.name, tuple(problems))


def _call(kernel_type: KernelType, shape: Shape, m: int) -> Call:
    return kernel_type.arguments(kernel_type.allocate_buffers(shape, m, "meta"), m)


def _differences(where: str, want: Any, more: Any, got: Any) -> Iterator[str]:
    import torch

    if isinstance(want, (tuple, list)):
        if not isinstance(got, (tuple, list)) or len(got) != len(want):
            yield f"{where}: expected {len(want)} tensors, got {_describe(got)}"
            return
        for index, parts in enumerate(zip(want, more, got)):
            yield from _differences(f"{where}[{index}]", *parts)
    elif isinstance(want, torch.Tensor):
        if not isinstance(got, torch.Tensor) or got.dtype != want.dtype or not _fits(want, more, got):
            yield f"{where}: expected {_describe(want)}, got {_describe(got)}"
    elif want != got:
        yield f"{where}: expected {want!r}, got {got!r}"


def _fits(want: torch.Tensor, more: torch.Tensor, got: torch.Tensor) -> bool:
    """A size that grows with the run-time value may be larger (an engine's masked buffers); the others are exact."""
    if len(want.shape) != len(got.shape):
        return False
    return all(b == a or (b > a and a != c) for a, c, b in zip(want.shape, more.shape, got.shape))


def _describe(value: Any) -> str:
    import torch

    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    return type(value).__name__
