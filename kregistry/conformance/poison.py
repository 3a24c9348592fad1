"""Poisoned buffers: filled with a pattern and placed between guards, to find missing and forbidden writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from attrs import frozen

from kregistry.kernel_type import Buffers, BufferSpec, KernelType, Shape

if TYPE_CHECKING:
    import torch

#: Two patterns: NaN in every float type, and a small positive number, which differs from it in every byte.
NAN_POISON = 0xFF
OTHER_POISON = 0x3B
#: Bytes before and after each buffer; a multiple of every alignment that a tensor map needs.
_GUARD = 4096


@frozen(eq=False)
class Poisoned:
    """Buffers in which every byte has a known value, each between two guards.

    Attributes:
        buffers: the buffers of the kernel type, which borrow the tensors.
        regions: name -> the storage of the buffer without its guards, as integers of the buffer's item size.
        rewritten: names of the outputs whose earlier contents do not count.
    """

    buffers: Buffers
    regions: Mapping[str, torch.Tensor]
    rewritten: tuple[str, ...]
    _arenas: Mapping[str, torch.Tensor]
    _pattern: int

    def snapshot(self) -> dict[str, torch.Tensor]:
        return {name: region.clone() for name, region in self.regions.items()}

    def poison_outputs(self) -> None:
        """Fill the outputs with the pattern again, except those that a launch adds to.

        What a launch does is then all that is in them, whatever ``fill()`` wrote.
        """
        import torch

        for name in self.rewritten:
            self.regions[name].view(torch.uint8).fill_(self._pattern)

    def broken_guards(self) -> list[str]:
        """Names of the buffers with a write before their start or after their end."""
        edges = {name: (arena[:_GUARD], arena[-_GUARD:]) for name, arena in self._arenas.items()}
        return [name for name, both in edges.items() if any(bool((edge != self._pattern).any()) for edge in both)]


def poisoned_buffers(
    kernel_type: KernelType, shape: Shape, max_m: int, pattern: int, device: str | torch.device
) -> Poisoned:
    """Allocate buffers between guards, filled with their initial value or else with the pattern."""
    import torch

    arenas: dict[str, torch.Tensor] = {}
    regions: dict[str, torch.Tensor] = {}
    tensors: dict[str, torch.Tensor] = {}
    specs = kernel_type.buffers(shape, max_m)
    for name, spec in specs.items():
        arena = torch.full((2 * _GUARD + spec.nbytes,), pattern, dtype=torch.uint8, device=device)
        inside = arena[_GUARD : _GUARD + spec.nbytes]
        tensors[name] = _tensor(spec, inside)
        regions[name] = inside.view(_integer(tensors[name].element_size()))
        arenas[name] = arena
    buffers = kernel_type.allocate_buffers(shape, max_m, device, lent=tensors)
    rewritten = tuple(
        name for name, spec in specs.items() if spec.role == "output" and not spec.accumulated and spec.initial is None
    )
    return Poisoned(buffers, regions, rewritten, arenas, pattern)


def elements(
    kernel_type: KernelType, poisoned: Poisoned, views: Callable[[Buffers], Mapping[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """Name of a buffer -> mask of its storage elements that lie in any of the views."""
    import torch

    shape, max_m = poisoned.buffers.shape, poisoned.buffers.max_m
    specs = kernel_type.buffers(shape, max_m)
    flats = {
        name: torch.zeros(region.numel() * region.element_size(), dtype=torch.uint8, device=region.device)
        for name, region in poisoned.regions.items()
    }
    shadow = Buffers(shape, max_m, {name: _tensor(spec, flats[name], zero=True) for name, spec in specs.items()})
    seen = set()
    for view in views(shadow).values():
        view.fill_(1)
        seen.add(view.untyped_storage().data_ptr())
    none = {name: region.new_zeros((), dtype=torch.bool) for name, region in poisoned.regions.items()}
    return {
        name: flats[name].view(region.dtype) != 0
        if flats[name].untyped_storage().data_ptr() in seen
        else none[name].expand(region.shape)
        for name, region in poisoned.regions.items()
    }


def _tensor(spec: BufferSpec, flat: torch.Tensor, zero: bool = False) -> torch.Tensor:
    import torch

    from kregistry.kernel_type.buffers import contiguous_strides

    elements_ = flat.view(getattr(torch, spec.dtype))
    tensor = elements_.as_strided(spec.shape, spec.strides or contiguous_strides(spec.shape))
    if isinstance(spec.initial, tuple) and not zero:
        tensor.copy_(tensor.new_tensor(spec.initial))
    elif spec.initial is not None and not zero:
        tensor.fill_(spec.initial)
    return tensor


def _integer(item_bytes: int) -> torch.dtype:
    import torch

    return {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[item_bytes]
