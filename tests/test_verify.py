"""Verify: every kernel of a plan in both places, and each fault by its name."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.kernel import Kernel
from kregistry.store import Store
from kregistry.verify import verify_kernels


def kernels_of(kernel: Kernel, store: Store, cache: JitCache, cubin: bytes, count: int) -> list[Kernel]:
    """Several kernels, in the store and in the cache."""
    found = []
    for number in range(count):
        entry = kernel.cache_entry.with_name(f"kernel.k.{number}")
        other = evolve(kernel, key=f"{number}" + "0" * 63, cache_entry=entry)
        cache.fill(other, store.put(other, cubin, "nvcc", 1.0))
        found.append(other)
    return found


def test_everything_is_intact(store: Store, kernel: Kernel, cubin: bytes, tmp_path: Path) -> None:
    cache = JitCache(tmp_path / "jit")
    result = verify_kernels(kernels_of(kernel, store, cache, cubin, 2), store, cache)
    assert (result.total, result.intact, result.faults) == (2, 2, ())


def test_nothing_to_verify(store: Store, tmp_path: Path) -> None:
    assert verify_kernels([], store, JitCache(tmp_path)).total == 0


def test_each_fault_is_named_with_its_place(store: Store, kernel: Kernel, cubin: bytes, tmp_path: Path) -> None:
    cache = JitCache(tmp_path / "jit")
    kernels = kernels_of(kernel, store, cache, cubin, 5)
    store.discard(kernels[0].key)
    path = store.entry(kernels[1].key) / "kernel.cubin"
    path.write_bytes(cubin[:100])
    cache.cubin(kernels[2]).unlink()
    cache.cubin(kernels[3]).unlink()
    cache.cubin(kernels[3]).write_bytes(b"")
    result = verify_kernels(kernels, store, cache)
    damaged = store.entry(kernels[1].key)
    assert [str(fault) for fault in result.faults] == [
        f"{kernels[0].id}: store {store.directory}: missing",
        f"{kernels[1].id}: store {damaged}: damaged: the cubin's sha256 differs from the recorded one",
        f"{kernels[2].id}: JIT cache {cache.entry(kernels[2])}: kernel.cubin is missing",
        f"{kernels[3].id}: JIT cache {cache.entry(kernels[3])}: the cubin differs from the store's",
    ]
    assert (result.total, result.intact) == (5, 1)
