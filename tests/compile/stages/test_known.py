"""What the store knows of a kernel is used, also while others remove it and put it back."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_kernels import small_kernel

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.stages.fill import Fill
from kregistry.compile.stages.known import Known
from kregistry.deep_gemm.jit_cache import Filled, JitCache
from kregistry.errors import StorageError
from kregistry.event_bus import EventBus
from kregistry.kernel import Kernel
from kregistry.store import Store
from kregistry.store.failures import BrokenKernels
from kregistry.store.store import StoredKernel


def known(store: Store, jit_cache: JitCache) -> Known:
    record = BuildRecord(EventBus().hook)
    return Known(store, BrokenKernels(store.directory), Fill(jit_cache, record), record)


@pytest.mark.parametrize("put_back", [False, True], ids=["removed", "removed and put back"])
def test_a_kernel_that_is_removed_while_it_is_used_is_not_there(
    store: Store, cubin: bytes, tmp_path: Path, put_back: bool
) -> None:
    class Removed(JitCache):
        def fill(self, kernel: Kernel, stored: StoredKernel) -> Filled:
            store.discard(kernel.key)
            try:
                return super().fill(kernel, stored)
            finally:
                if put_back:
                    store.put(kernel, cubin, "nvcc", 1.0)

    kernel = small_kernel("a")
    store.put(kernel, cubin, "nvcc", 1.0)
    assert not known(store, Removed(tmp_path / "jit")).use(kernel)
    assert known(store, JitCache(tmp_path / "jit")).use(kernel) is put_back


def test_a_jit_cache_that_leads_nowhere_is_an_error(store: Store, cubin: bytes, tmp_path: Path) -> None:
    kernel = small_kernel("a")
    store.put(kernel, cubin, "nvcc", 1.0)
    (tmp_path / "jit").symlink_to("nowhere/jit")
    with pytest.raises(StorageError):
        known(store, JitCache(tmp_path / "jit")).use(kernel)
