"""Fills DeepGEMM's JIT cache with a kernel that is in the store."""

from __future__ import annotations

from attrs import frozen

from kregistry.compile.build_record import BuildRecord
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.kernel import Kernel
from kregistry.store.store import StoredKernel


@frozen(eq=False)
class Fill:
    """Leaves kernels of a lock file out: only the dry run on this machine says where DeepGEMM looks for them."""

    _jit_cache: JitCache
    _record: BuildRecord

    def fill(self, kernel: Kernel, stored: StoredKernel) -> None:
        """
        Raises:
            StorageError: the JIT cache cannot be written.
        """
        if kernel.has_cache_entry:
            self._record.cache_filled(self._jit_cache.fill(kernel, stored))
