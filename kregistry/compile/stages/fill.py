"""Fills DeepGEMM's JIT cache with a kernel that is in the store."""

from __future__ import annotations

import threading

from attrs import define, field

from kregistry.compile.build_record import BuildRecord
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.kernel import Kernel
from kregistry.store.store import StoredKernel


@define(eq=False)
class Fill:
    """Leaves early kernels out until they are confirmed: only the dry run says where DeepGEMM looks for them.

    A kernel that is confirmed before it is ready is put there as soon as it is, beside the compilers that still run.
    Safe against threads.

    Attributes:
        jit_cache: the cache; it may be replaced as long as no kernel is confirmed.
    """

    jit_cache: JitCache
    _record: BuildRecord
    #: Key of a kernel -> the kernels of the dry run, with their entries in the JIT cache.
    _confirmed: dict[str, list[Kernel]] = field(factory=dict, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def confirm(self, kernel: Kernel) -> None:
        """From now on, a kernel with the same key fills the entry of this one too."""
        with self._lock:
            self._confirmed.setdefault(kernel.key, []).append(kernel)

    def fill(self, kernel: Kernel, stored: StoredKernel) -> None:
        """
        Raises:
            StorageError: the JIT cache cannot be written.
        """
        if kernel.has_cache_entry:
            self._record.cache_filled(self.jit_cache.fill(kernel, stored))
            return
        self.fill_confirmed(kernel.key, stored)

    def fill_confirmed(self, key: str, stored: StoredKernel) -> None:
        """Fill the entries of the confirmed kernels with this key, each once.

        Raises:
            StorageError: the JIT cache cannot be written.
        """
        with self._lock:
            confirmed = self._confirmed.pop(key, [])
        while confirmed:
            try:
                self._record.cache_filled(self.jit_cache.fill(confirmed[0], stored))
            except BaseException:
                with self._lock:  # `kregistry gc` may have been faster: then the kernel is made, and comes here, again
                    self._confirmed.setdefault(key, []).extend(confirmed)
                raise
            del confirmed[0]
