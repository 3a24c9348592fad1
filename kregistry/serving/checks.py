"""Debug mode: check that the tensors of a call are those that its kernel type declares.

The kernel type allocates its buffers on torch's meta device and makes the call that warm-up would make for the same
dimensions. A real call must have the same structure, dtypes and sizes. Nothing is copied from the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kregistry.errors import ArgumentError
from kregistry.kernel_type import Call, KernelType, Shape, Value
from kregistry.target import Target

if TYPE_CHECKING:
    import torch

#: Added to the run-time value to find the sizes that depend on it. More than 128, to which buffers may be padded.
_MORE = 256


def check_call(
    kernel_type: KernelType,
    target: Target,
    shape: Mapping[str, Value],
    m: int,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    """Check one call at run-time value ``m``.

    Raises:
        ShapeError: the kernel type refuses a dimension on this target.
        ArgumentError: tensors differ from the declaration; it names all of them.
    """
    resolved = kernel_type.resolve(shape, target)
    expected, larger = _call(kernel_type, resolved, m), _call(kernel_type, resolved, m + _MORE)
    problems = [
        problem
        for position, (want, more, got) in enumerate(zip(expected.args, larger.args, args))
        for problem in _differences(f"argument {position + 1}", want, more, got)
    ]
    # Arguments that the declaration does not have (recipe=None, for instance) are not checked.
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
    """Sizes must be equal, but one that grows with the run-time value may be larger (an engine's masked buffers)."""
    if len(want.shape) != len(got.shape):
        return False
    return all(b == a or (b > a and a != c) for a, c, b in zip(want.shape, more.shape, got.shape))


def _describe(value: Any) -> str:
    import torch

    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    return type(value).__name__
