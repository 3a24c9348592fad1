"""Fills DeepGEMM's JIT cache with a kernel that is in the store."""

from __future__ import annotations

from attrs import define

from kregistry.compile.build_record import BuildRecord
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.kernel import Kernel
from kregistry.store.store import StoredKernel


@define(eq=False)
class Fill:
    """Leaves kernels of a lock file out: only the dry run on this machine says where DeepGEMM looks for them.

    Attributes:
        jit_cache: the cache; it may be replaced as long as there are only such kernels.
    """

    jit_cache: JitCache
    _record: BuildRecord

    def fill(self, kernel: Kernel, stored: StoredKernel) -> None:
        """
        Raises:
            StorageError: the JIT cache cannot be written.
        """
        if kernel.has_cache_entry:
            self._record.cache_filled(self.jit_cache.fill(kernel, stored))
