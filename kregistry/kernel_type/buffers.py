"""Buffers: the tensors of one call site, declared as plain values, so that sizes are known without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from kregistry.errors import InputError, nearest_hint
from kregistry.kernel_type.shape import Shape

if TYPE_CHECKING:
    import torch

ITEM_BYTES: Mapping[str, int] = {
    "float8_e4m3fn": 1,
    "int8": 1,
    "uint8": 1,
    "bfloat16": 2,
    "float16": 2,
    "int32": 4,
    "float32": 4,
    "int64": 8,
}

Role = Literal["input", "weight", "output"]


@frozen
class BufferSpec:
    """One tensor that the caller of a kernel type owns.

    Attributes:
        shape: sizes of the dimensions, in elements.
        dtype: name of the torch dtype, e.g. ``"bfloat16"``.
        role: ``input``, ``weight`` or ``output``. A weight may be borrowed from the caller; an output is written by the
            kernel.
        strides: in elements; ``None`` means contiguous.
        storage: elements of the storage, if padding follows the last element of the tensor.
        initial: the value to allocate with, or all values of a one-dimensional tensor, for indices and counts: with
            random values a kernel would read out of bounds. A launch at ``max_m`` must be valid with them, since
            warm-up does not fill buffers. Other buffers stay uninitialised.
        accumulated: whether a launch adds to what the buffer, an output, holds. ``fill()`` then writes it, and the
            reference is the sum with what it holds. No other output may be read by a launch or by the reference.
        affects_results: ``False`` for integers that only say how a launch divides its work (a schedule, counts that
            the host passes too): the results are the same for others.
    """

    shape: tuple[int, ...]
    dtype: str
    role: Role = "input"
    strides: tuple[int, ...] | None = None
    storage: int | None = None
    initial: int | tuple[int, ...] | None = None
    accumulated: bool = False
    affects_results: bool = True

    def __attrs_post_init__(self) -> None:
        if isinstance(self.initial, tuple) and self.shape != (len(self.initial),):
            text = f"a buffer of shape {self.shape} starts with {len(self.initial)} values"
            raise InputError(text, "give one value, or each value of a one-dimensional buffer")
        if self.accumulated and self.role != "output":
            raise InputError(f"an accumulated buffer has the role {self.role!r}", "only an output is accumulated into")
        if not self.affects_results and "int" not in self.dtype:
            text = f"a buffer of {self.dtype} that does not affect results"
            raise InputError(text, "only integers may be a schedule")

    @property
    def storage_elements(self) -> int:
        if self.storage is not None:
            return self.storage
        if self.strides is None or 0 in self.shape:
            return math.prod(self.shape)
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides))

    @property
    def nbytes(self) -> int:
        """Bytes of the storage, padding included."""
        return self.storage_elements * ITEM_BYTES[self.dtype]

    def allocate(self, device: str | torch.device) -> torch.Tensor:
        """A new tensor, uninitialised unless :attr:`initial` is set."""
        import torch

        dtype: torch.dtype = getattr(torch, self.dtype)
        if isinstance(self.initial, tuple):
            return torch.tensor(self.initial, dtype=dtype, device=device)
        if self.initial is not None:
            return torch.full(self.shape, self.initial, dtype=dtype, device=device)
        if self.strides is None and self.storage is None:
            return torch.empty(self.shape, dtype=dtype, device=device)
        flat = torch.empty(self.storage_elements, dtype=dtype, device=device)
        return flat.as_strided(self.shape, self.strides or contiguous_strides(self.shape))


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of a tensor of this shape whose last dimension is contiguous."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


@frozen(eq=False)
class Buffers:
    """The tensors of one call site, as attributes: ``buffers.a``.

    Attributes:
        shape: the shape that they were allocated for.
        max_m: the largest run-time value that they can serve.
        tensors: by name, as :meth:`KernelType.buffers` declares them.
    """

    shape: Shape
    max_m: int
    tensors: Mapping[str, torch.Tensor]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self.tensors:
            return self.tensors[name]
        raise AttributeError(f"buffers of {self.shape.kernel_type} have no tensor {name!r}")


def allocate(
    shape: Shape,
    max_m: int,
    specs: Mapping[str, BufferSpec],
    device: str | torch.device,
    lent: Mapping[str, torch.Tensor],
) -> Buffers:
    """Allocate every declared buffer, except those for which the caller passes a tensor to borrow.

    Args:
        lent: name of a buffer -> the borrowed tensor.

    Raises:
        InputError: a buffer has a name that :class:`Buffers` uses itself. Or a borrowed tensor differs from the
            declaration in shape, dtype or strides, or there is no buffer of its name.
    """
    taken = sorted(specs.keys() & set(dir(Buffers)))
    if taken:
        text = f"{shape.kernel_type} declares the buffer {taken[0]!r}, a name that Buffers uses itself"
        raise InputError(text, "rename it: buffers are attributes of Buffers")
    for name in lent:
        if name not in specs:
            hint = nearest_hint(name, specs, "buffer")
            raise InputError(f"a tensor is given for {shape.kernel_type}.{name}, but there is no such buffer", hint)
    tensors: dict[str, torch.Tensor] = {}
    for name, spec in specs.items():
        tensor = lent.get(name)
        if tensor is None:
            tensor = spec.allocate(device)
        else:
            _check_lent(shape, name, spec, tensor)
        tensors[name] = tensor
    return Buffers(shape, max_m, tensors)


def _check_lent(shape: Shape, name: str, spec: BufferSpec, tensor: torch.Tensor) -> None:
    wanted = (spec.shape, spec.dtype, spec.strides or contiguous_strides(spec.shape))
    found = (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), tuple(tensor.stride()))
    if wanted != found:
        raise InputError(
            f"the tensor given for {shape.kernel_type}.{name} has (shape, dtype, strides) {found}, expected {wanted}",
            "pass the weight exactly as the engine passes it to DeepGEMM",
        )
