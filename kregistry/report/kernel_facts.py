"""What is known of each kernel of a plan: template arguments, size, seconds, and whether it is in place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from kregistry.bounded_input import parse_json, read_bounded
from kregistry.compile.build_log import BuildLog
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.deep_gemm.template_names import template_arguments
from kregistry.kernel import Kernel
from kregistry.plan.plan import Plan
from kregistry.store import Store
from kregistry.store.failures import BrokenKernels
from kregistry.store.store import RECORD

#: State of a kernel -> the phrase that reports and `show` print.
STATES = {
    "ready": "in the store and in the JIT cache",
    "stored": "in the store, not in the JIT cache",
    "missing": "not built",
    "broken": "does not compile",
}


_MOST_DIGITS = 18


@frozen
class KernelFacts:
    """One kernel.

    Attributes:
        kernel: the kernel.
        arguments: its template arguments, as (name, value); names may be empty.
        nbytes, seconds: size of the cubin, and compiler time, as the store has recorded them; 0 if it is not there.
        state: one of :data:`STATES`.
        tier: where the build that is shown got it from: ``compiled``, ``store`` ...; empty if that is not known.
        place: its cubin in the JIT cache.
    """

    kernel: Kernel
    arguments: tuple[tuple[str, str], ...]
    nbytes: int
    seconds: float
    state: str
    tier: str
    place: Path

    def values(self) -> dict[str, str]:
        """Template arguments by name; by position where a name is not known."""
        return {name or f"argument {index}": value for index, (name, value) in enumerate(self.arguments, start=1)}

    def rank(self) -> tuple[int, ...]:
        """By which kernels of a family are ordered: their tile, then all numbers among their arguments."""
        return (self.tile(), *(_number(value) for value in self.values().values() if value.isdecimal()))

    def tile(self) -> int:
        """Size of the tile that a block computes, 0 if the arguments do not say."""
        size = 1
        for name in ("BLOCK_M", "BLOCK_N"):
            value = self.values().get(name, "")
            size *= _number(value)
        return size


def _number(value: str) -> int:
    """The number that a template argument is; 0 if it is none, or has more digits than a number of a kernel."""
    return int(value) if value.isdecimal() and len(value) <= _MOST_DIGITS else 0


def kernel_facts(
    plan: Plan, store: Store, jit_cache: JitCache, log: BuildLog | None = None
) -> Mapping[str, KernelFacts]:
    """The facts of every kernel of a plan, by id, in the order of their names. Cubins are not read."""
    broken = BrokenKernels(store.directory)
    return {id: _facts(plan.kernels[id], store, jit_cache, broken, log) for id in sorted(plan.kernels)}


def _facts(
    kernel: Kernel, store: Store, jit_cache: JitCache, broken: BrokenKernels, log: BuildLog | None
) -> KernelFacts:
    cubin = jit_cache.cubin(kernel) if kernel.cubin_file else store.entry(kernel.key) / "kernel.cubin"
    nbytes, seconds, state = 0, 0.0, "missing"
    try:
        record = parse_json(read_bounded(store.entry(kernel.key) / RECORD))
        nbytes, seconds = int(record["bytes"]), float(record["seconds"])
        state = "ready" if cubin.exists() else "stored"
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        if broken.path(kernel.key).exists():
            state = "broken"
    logged = log.kernels.get(kernel.id) if log else None
    return KernelFacts(kernel, template_arguments(kernel), nbytes, seconds, state, logged.tier if logged else "", cubin)


def varying_arguments(facts: Sequence[KernelFacts]) -> set[str]:
    """The template parameters in which the kernels of a family differ."""
    values: dict[str, set[str]] = defaultdict(set)
    for each in facts:
        for name, value in each.values().items():
            values[name].add(value)
    return {name for name, found in values.items() if len(found) > 1}
