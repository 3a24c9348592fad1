"""Verify: is every kernel of a plan in the store and in the JIT cache, complete and intact? And the plan on disk?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.errors import InputError
from kregistry.kernel import Kernel
from kregistry.plan.plan_file import read_plan
from kregistry.store.store import DamagedEntry, Store


@frozen
class Fault:
    """Something that is missing or damaged: a kernel in the store or in the JIT cache, or the plan of a warm start.

    Attributes:
        subject: the id of the kernel, or ``"plan"``.
        place: where it is.
        text: what is wrong with it.
    """

    subject: str
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.place}: {self.text}"


@frozen
class Verification:
    """The outcome: the number of kernels checked, and the faults found."""

    total: int
    faults: tuple[Fault, ...]

    @property
    def intact(self) -> int:
        return self.total - len({fault.subject for fault in self.faults})


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
            faults.append(Fault(kernel.id, f"store {store.entry(kernel.key)}", f"damaged: {error}"))
            continue
        if stored is None:
            faults.append(Fault(kernel.id, f"store {store.directory}", "missing"))
            continue
        fault = jit_cache.fault(kernel, stored)
        if fault is not None:
            faults.append(Fault(kernel.id, f"JIT cache {jit_cache.entry(kernel)}", fault))
    return Verification(total, tuple(faults))


def plan_fault(path: Path) -> Fault | None:
    """What is wrong with a kept plan; ``None`` if nothing is, or if there is no such file.

    Raises:
        StorageError: the file cannot be read.
    """
    if not path.exists():
        return None
    try:
        fingerprint = read_plan(path).fingerprint
    except InputError as error:
        if not path.exists():  # removed since
            return None
        return Fault("plan", str(path), f"damaged: {error.text.removeprefix(f'{path}: ')}")
    if fingerprint != path.stem:
        return Fault("plan", str(path), "it is the plan of something else")
    return None
