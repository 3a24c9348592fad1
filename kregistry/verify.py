"""Verify: is every kernel of a plan in the store and in the JIT cache, complete and intact?"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.kernel import Kernel
from kregistry.store.store import DamagedEntry, Store


@frozen
class Fault:
    """A kernel that is missing or damaged, with the place: the store or the JIT cache."""

    kernel: Kernel
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.kernel.id}: {self.place}: {self.text}"


@frozen
class Verification:
    """The outcome: the number of kernels checked, and the faults found."""

    total: int
    faults: tuple[Fault, ...]

    @property
    def intact(self) -> int:
        return self.total - len({fault.kernel.id for fault in self.faults})


def verify_kernels(kernels: Iterable[Kernel], store: Store, jit_cache: JitCache) -> Verification:
    """Read and check every cubin.

    A cubin must match its recorded hash and hold exactly one kernel, and the JIT cache must hold the same cubin.
    """
    faults: list[Fault] = []
    total = 0
    for kernel in kernels:
        total += 1
        try:
            stored = store.get(kernel.key)
        except DamagedEntry as error:
            faults.append(Fault(kernel, f"store {store.entry(kernel.key)}", f"damaged: {error}"))
            continue
        if stored is None:
            faults.append(Fault(kernel, f"store {store.directory}", "missing"))
            continue
        fault = jit_cache.fault(kernel, stored)
        if fault is not None:
            faults.append(Fault(kernel, f"JIT cache {jit_cache.entry(kernel)}", fault))
    return Verification(total, tuple(faults))
