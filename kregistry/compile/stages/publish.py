"""Last stage: the first result of a job goes into the store and the JIT cache, or is reported as a failure."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.job import Job, State
from kregistry.compile.nvcc import Compilation
from kregistry.compile.stages.fill import Fill
from kregistry.events.compiled import CompiledKernel, FailedKernel
from kregistry.kernel import Kernel
from kregistry.store.failures import BrokenKernels
from kregistry.store.store import Store


@frozen(eq=False)
class Publish:
    """Publishes results.

    Args:
        compiler: name of the compiler, for the store's record of the kernel.
        write_back: called with each kernel that was compiled and is in the store.
        release: called with each job after its result has been published.
    """

    _store: Store
    _broken: BrokenKernels
    _fill: Fill
    _compiler: str
    _record: BuildRecord
    _write_back: Callable[[Kernel], None]
    _release: Callable[[Job], None]

    def publish(self, job: Job, result: Compilation) -> None:
        """Publish the result of a job; a second result of the same job is ignored.

        Raises:
            StorageError: the store or the JIT cache cannot be written.
        """
        if not job.advance(State.SETTLED):
            return
        if result.failure:
            failed = FailedKernel(job.kernel, result.command, result.failure)
            self._broken.put(failed)
            self._record.kernel_failed(failed)
        else:
            self._record.kernel_compiled(self._store_cubin(job.kernel, result))
        self._release(job)

    def _store_cubin(self, kernel: Kernel, result: Compilation) -> CompiledKernel:
        seconds = result.seconds + (result.front_end_seconds or 0.0)
        stored = self._store.put(kernel, result.cubin, self._compiler, seconds)
        self._fill.fill(kernel, stored)
        self._write_back(kernel)
        return CompiledKernel(kernel, seconds, stored.nbytes, result.front_end_seconds)
