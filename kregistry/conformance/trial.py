"""Trial: one launch on random inputs in poisoned buffers, with the data that rules check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import frozen

from kregistry.conformance.poison import Poisoned, elements, poisoned_buffers
from kregistry.deep_gemm.settings import applied
from kregistry.kernel_type import Buffers, KernelType, Shape

if TYPE_CHECKING:
    import torch


@frozen(eq=False)
class Trial:
    """The data of one launch.

    Attributes:
        wanted: the results of the reference, computed before the launch.
        got: the results after the launch.
        before, after: name of a buffer -> its storage as integers, after the fill and after the launch.
        writable: name of a buffer -> which elements the launch may write.
        outputs: name of a buffer -> which elements the launch must write.
        broken_guards: names of the buffers with a write before their start or after their end.
    """

    wanted: Mapping[str, torch.Tensor]
    got: Mapping[str, torch.Tensor]
    before: Mapping[str, torch.Tensor]
    after: Mapping[str, torch.Tensor]
    writable: Mapping[str, torch.Tensor]
    outputs: Mapping[str, torch.Tensor]
    broken_guards: tuple[str, ...]


def run_trial(kernel_type: KernelType, shape: Shape, m: int, max_m: int, seed: int, poison: int, device: str) -> Trial:
    """Fill the inputs, compute the reference, launch once through :meth:`KernelType.execute`, and compare memory."""
    poisoned = filled_buffers(kernel_type, shape, m, max_m, seed, poison, device)
    wanted = reference_of(kernel_type, poisoned.buffers, m)
    before = poisoned.snapshot()
    with applied(kernel_type, shape):
        value = kernel_type.execute(poisoned.buffers, m)
    synchronize(device)
    got = {name: tensor.clone() for name, tensor in results_of(kernel_type, poisoned.buffers, m, value).items()}
    after = poisoned.snapshot()
    writable = elements(kernel_type, poisoned, lambda buffers: kernel_type.writable(buffers, m))
    outputs = elements(kernel_type, poisoned, lambda buffers: kernel_type.outputs(buffers, m))
    return Trial(wanted, got, before, after, writable, outputs, tuple(poisoned.broken_guards()))


def filled_buffers(
    kernel_type: KernelType, shape: Shape, m: int, max_m: int, seed: int, poison: int, device: str
) -> Poisoned:
    """Poisoned buffers with the random inputs of a seed."""
    poisoned = poisoned_buffers(kernel_type, shape, max_m, poison, device)
    refill(kernel_type, poisoned, m, seed, device)
    return poisoned


def refill(kernel_type: KernelType, poisoned: Poisoned, m: int, seed: int, device: str) -> None:
    """The random inputs of a seed, in buffers that may have been used before; the outputs are poisoned after it."""
    import torch

    kernel_type.fill(poisoned.buffers, m, torch.Generator(device).manual_seed(seed))
    synchronize(device)
    poisoned.poison_outputs()


def reference_of(kernel_type: KernelType, buffers: Buffers, m: int) -> dict[str, torch.Tensor]:
    """The results of the reference, which no later launch in the same buffers changes."""
    return {name: tensor.clone() for name, tensor in kernel_type.reference(buffers, m).items()}


def reference_or_none(kernel_type: KernelType, buffers: Buffers, m: int) -> dict[str, torch.Tensor] | None:
    """The same; ``None`` if the reference refuses the inputs."""
    try:
        return reference_of(kernel_type, buffers, m)
    except (RuntimeError, IndexError, ValueError):
        return None


def results_of(kernel_type: KernelType, buffers: Buffers, m: int, value: object) -> dict[str, torch.Tensor]:
    """All results of a launch that returned ``value``."""
    return {**kernel_type.results(buffers, m), **kernel_type.returned(value, buffers, m)}


def synchronize(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
