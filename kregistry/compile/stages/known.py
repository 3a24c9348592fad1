"""First stage: a kernel that is in the store, or is known not to compile, needs no compiler."""

from __future__ import annotations

from attrs import frozen

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.stages.fill import Fill
from kregistry.errors import StorageError
from kregistry.kernel import Kernel
from kregistry.store.failures import BrokenKernels
from kregistry.store.store import DamagedEntry, OutdatedEntry, Store


@frozen(eq=False)
class Known:
    """Looks a kernel up; asked when it is planned, and again when its turn to be compiled has come."""

    _store: Store
    _broken: BrokenKernels
    _fill: Fill
    _record: BuildRecord

    def use(self, kernel: Kernel) -> bool:
        """Use what an earlier or another build made of a kernel: its cubin, or else the result that it is broken.

        Returns:
            whether there was such a result.

        Raises:
            StorageError: the store or the JIT cache cannot be written.
        """
        if self._use_stored(kernel):
            return True
        failed = self._broken.get(kernel)
        if failed is not None:
            self._record.kernel_failed(failed)
        return failed is not None

    def tried(self, kernel: Kernel) -> bool:
        """Whether an earlier build has left anything for a kernel, intact or not."""
        return self._store.entry(kernel.key).exists() or self._broken.get(kernel) is not None

    def _use_stored(self, kernel: Kernel) -> bool:
        try:
            stored = self._store.get(kernel.key)
        except DamagedEntry as error:
            self._record.kernels_outdated(isinstance(error, OutdatedEntry))
            self._store.discard_damaged(kernel.key)
            return False
        if stored is None:
            return False
        try:
            self._fill.fill(kernel, stored)
        except StorageError as error:
            cause = error.__cause__
            if not isinstance(cause, FileNotFoundError) or cause.filename != str(stored.cubin):
                raise
            return False  # `kregistry gc` was faster; another builder may even have put it back since
        self._store.note_use(kernel.key)
        self._record.kernel_found(kernel)
        return True
