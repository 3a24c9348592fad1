"""A store that this process cannot write: used as it is, if it holds every kernel."""

from __future__ import annotations

from collections.abc import Iterable

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.stages.fill import Fill
from kregistry.compile.stages.known import Known
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.errors import StorageError
from kregistry.kernel import Kernel
from kregistry.store.failures import BrokenKernels
from kregistry.store.store import Store

#: How many missing kernels a message names.
_NAMED = 5


def use_read_only(kernels: Iterable[Kernel], store: Store, jit_cache: JitCache, record: BuildRecord) -> None:
    """Use what a store holds. The JIT cache is filled where it can be written, and nothing else is written.

    Raises:
        StorageError: kernels are missing; it names them.
    """
    known = Known(store, BrokenKernels(store.directory), Fill(jit_cache, record), record)
    absent: list[str] = []
    wanted = list(kernels)
    for kernel in wanted:
        try:
            if not known.use(kernel):
                absent.append(f"{kernel.id} is not in the store")
        except StorageError as error:  # a damaged entry of the store, or a JIT cache without the kernel
            absent.append(f"{kernel.id}: {error.message}")
    if not absent:
        return
    more = f"; and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
    named = "; ".join(absent[:_NAMED]) + more
    text = f"cannot be written, and {len(absent)} of {len(wanted)} kernels are not ready: {named}"
    raise StorageError(
        str(store.directory), text, "run kregistry build where the store and the JIT cache can be written"
    )
