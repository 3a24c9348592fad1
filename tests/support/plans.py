"""Plans in few words."""

from __future__ import annotations

from pathlib import Path

from sample_kernel_types import Sample
from shapes import entry_of

from kregistry.kernel import CompilerCommand, Kernel
from kregistry.plan import Plan, PlannedEntry, Refusal, Segment
from kregistry.target import TARGETS
from kregistry.toolchain import Versions


def kernel_of(number: int) -> Kernel:
    """A kernel whose id is ``gemm.NUMBER...``."""
    command = CompilerCommand(("-gencode=arch=compute_90a,code=sm_90a",), ())
    entry = Path(f".deep_gemm/cache/kernel.gemm.{number}")
    return Kernel("gemm", f"{number:x}" * 64, "source", command, entry, "kernel.cubin", {})


VERSIONS = Versions("1", "2", "3")
K = [kernel_of(number) for number in range(4)]


def planned(
    *segments: tuple[int, int, str], n: int = 8, error: str = "", refusals: tuple[Refusal, ...] = ()
) -> PlannedEntry:
    """An entry with segments (start, stop, digits of kernels)."""
    made = tuple(Segment(a, b, tuple(K[int(digit)].id for digit in digits)) for a, b, digits in segments)
    stop = max((b for _, b, _ in segments), default=8)
    return PlannedEntry(entry_of(Sample(), stop, n=n), made, refusals, error)


def plan_of(*entries: PlannedEntry, versions: Versions = VERSIONS, target: str = "h100") -> Plan:
    used = {kernel for entry in entries for kernel in entry.kernels()}
    kernels = {kernel.id: kernel for kernel in K if kernel.id in used}
    return Plan(TARGETS[target], versions, kernels, entries)
