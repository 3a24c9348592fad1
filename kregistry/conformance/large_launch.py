"""The one launch at a large run-time value: its shape and its value."""

from __future__ import annotations

from collections.abc import Iterable

from kregistry.conformance.cases import start_of
from kregistry.kernel_type import KernelType, Shape

#: Run-time values, the first that fits: past the numbers of 16 bits, past those of 15 bits, and smaller ones.
_VALUES = (65_540, 32_780, 16_380, 4_100, 1_030)
#: On a GPU, no more than KR223 has tried on the stub GPU.
_MOST_ON_A_GPU = 16_384
#: Bytes of the buffers that are tried.
_MOST_BYTES = 32 << 20


def smallest_of(kernel_type: KernelType, shapes: Iterable[Shape], m: int) -> Shape:
    """The shape whose buffers for ``m`` are the smallest."""
    return min(shapes, key=lambda shape: kernel_type.memory_requirement(shape, m))


def value_to_launch(kernel_type: KernelType, shape: Shape, device: str) -> int | None:
    """The largest run-time value to launch, within what the kernel type itself says; ``None`` if there is none."""
    start, step = start_of(kernel_type), kernel_type.run_dimension.step
    limits = (
        kernel_type.largest_m(shape),
        kernel_type.proof.stop or None,
        _MOST_ON_A_GPU if device == "cuda" else None,
    )
    for wanted in _VALUES:
        value = start + (wanted - start) // step * step
        allowed = value > start and all(limit is None or value <= limit for limit in limits)
        if allowed and kernel_type.refusal(shape, value) is None and fits(kernel_type, shape, value):
            return value
    return None


def fits(kernel_type: KernelType, shape: Shape, m: int) -> bool:
    """Whether the buffers for ``m`` are small enough to be filled on a CPU."""
    return kernel_type.memory_requirement(shape, m) <= _MOST_BYTES
