"""The launches of a warm-up: one for each kernel, at the smallest run-time value that uses it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from kregistry.deep_gemm.settings import applied
from kregistry.errors import WarmupError, describe_error
from kregistry.events.warmed import Warmed, WarmedKernel
from kregistry.kernel_type import KernelType
from kregistry.manifest import Entry
from kregistry.registry import Registry

if TYPE_CHECKING:
    import torch


@frozen
class LaunchPoint:
    """A launch to make.

    Attributes:
        entry: the call site.
        m: the smallest run-time value of the entry that uses these kernels.
        kernels: their ids; no smaller value uses them.
    """

    entry: Entry
    m: int
    kernels: tuple[str, ...]


#: Weights to use in place of new buffers: label of an entry -> name of a buffer -> tensor.
Lent = Mapping[str, Mapping[str, "torch.Tensor"]]


class Launcher:
    """Launches within a memory budget.

    A kernel that several entries use is launched once. A launch that does not fit is reported, and its kernels stay on
    disk. An error in one entry does not stop the others, unless it ends the CUDA context of the process.

    Args:
        registry: the kernel types, and the listeners of ``kregistry_kernel_warmed``.
        limit_bytes: the most device memory of one launch.
        lent: weights to use in place of new buffers.
    """

    def __init__(self, registry: Registry, limit_bytes: int, lent: Lent) -> None:
        self.registry = registry
        self.limit_bytes = limit_bytes
        self.lent = lent
        self.loaded: set[str] = set()

    def run(self, points: Sequence[LaunchPoint]) -> Iterator[WarmedKernel]:
        """Make the launches; the outcome of each.

        Raises:
            WarmupError: after the outcome of a launch that ended the CUDA context of the process.
        """
        import torch

        previous: Entry | None = None
        for point in points:
            if previous is not None and point.entry is not previous:
                torch.cuda.empty_cache()  # the buffers of a shape are freed before those of the next
            previous = point.entry
            kernels = tuple(kernel for kernel in point.kernels if kernel not in self.loaded)
            if not kernels:
                continue
            warmed = self._launch(point, kernels)
            yield warmed
            if warmed.outcome is Warmed.FAILED and _lost_context():
                place = f"{point.entry} at {point.entry.range.name} {point.m}"
                text = f"the launch for {place} ended the CUDA context of this process; no later launch was made"
                hint = "start a new process, without that entry: this one cannot use the GPU any more"
                raise WarmupError(text, (warmed.text,), hint)
        torch.cuda.empty_cache()

    def _launch(self, point: LaunchPoint, kernels: tuple[str, ...]) -> WarmedKernel:
        entry, m = point.entry, point.m
        kernel_type = self.registry[entry.kernel_type]
        lent = self.lent.get(entry.label, {})
        nbytes = self._requirement(kernel_type, entry, m, lent)
        outcome, text = Warmed.LOADED, ""
        collective = kernel_type.collective(entry.shape)
        if collective:
            outcome, text = Warmed.LEFT, collective
        elif nbytes > self.limit_bytes:
            outcome, text = Warmed.LEFT, f"needs {nbytes} bytes, the memory budget is {self.limit_bytes}"
        else:
            outcome, text = _try_launch(kernel_type, entry, m, lent)
        if outcome is Warmed.LOADED:
            self.loaded.update(kernels)
        warmed = WarmedKernel(entry, m, kernels, outcome, nbytes, text)
        self.registry.hook.kregistry_kernel_warmed(warmed=warmed)
        return warmed

    @staticmethod
    def _requirement(kernel_type: KernelType, entry: Entry, m: int, lent: Mapping[str, torch.Tensor]) -> int:
        buffers = kernel_type.buffers(entry.shape, m)
        borrowed = sum(spec.nbytes for name, spec in buffers.items() if name in lent)
        needed = kernel_type.memory_requirement(entry.shape, m) - borrowed
        return needed + kernel_type.workspace_requirement(entry.shape, m)


def _lost_context() -> bool:
    """Whether CUDA refuses every further call, as it does after a trap or an illegal access in a kernel."""
    import torch

    try:
        torch.cuda.synchronize()
    except Exception:  # torch.AcceleratorError, a RuntimeError before torch 2.8
        return True
    return False


def _try_launch(kernel_type: KernelType, entry: Entry, m: int, lent: Mapping[str, torch.Tensor]) -> tuple[Warmed, str]:
    import torch

    try:
        with applied(kernel_type, entry.shape):
            kernel_type.execute(kernel_type.allocate_buffers(entry.shape, m, "cuda", lent), m)
        torch.cuda.synchronize()
    except torch.OutOfMemoryError as error:
        return Warmed.LEFT, f"the device has too little memory: {str(error).splitlines()[0]}"
    except Exception as error:
        return Warmed.FAILED, describe_error(error)
    return Warmed.LOADED, ""
