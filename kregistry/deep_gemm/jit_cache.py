"""DeepGEMM's own cache directory, filled in whatever layout its version uses.

What lies beside a cubin (kernel.cu, meta.json, .committed ...) and the name of its directory were made by DeepGEMM
itself in the dry run, and are taken as they are.
"""

from __future__ import annotations

import enum
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from kregistry.bounded_input import read_bounded
from kregistry.deep_gemm.cache_layout import layout_of
from kregistry.kernel import Kernel
from kregistry.store import atomic
from kregistry.store.store import MAX_CUBIN_BYTES, StoredKernel

#: What killed processes have left is removed after this time.
_ABANDONED_SECONDS = 3600.0


class Filled(enum.Enum):
    """What filling did."""

    #: The kernel was there, with the same content.
    PRESENT = "present"
    #: The kernel was put there.
    ADDED = "added"
    #: A damaged or different kernel was replaced.
    REPAIRED = "repaired"


class JitCache:
    """DeepGEMM's cache on disk.

    Args:
        directory: the cache directory; ``None``: the directories that DeepGEMM itself would use, which depend on its
            version (read off each kernel) and on ``environment``.
        environment: of the process that will run DeepGEMM.
    """

    def __init__(self, directory: Path | None = None, environment: Mapping[str, str] = os.environ) -> None:
        self._directory = directory
        self._environment = environment
        self._cleaned: set[Path] = set()

    def roots(self, kernel: Kernel) -> tuple[Path, ...]:
        """The directories in which DeepGEMM will look for a kernel, in this order."""
        if self._directory is not None:
            return (self._directory,)
        return layout_of(kernel.cache_entry).roots(self._environment)

    def directory_for(self, kernel: Kernel) -> Path:
        """The cache directory that DeepGEMM will write to: the first of :meth:`roots`."""
        return self.roots(kernel)[0]

    def entry(self, kernel: Kernel) -> Path:
        """The directory of one kernel: where DeepGEMM will find it, or else where it would put it."""
        entries = [root.joinpath(*kernel.cache_entry.parts[1:]) for root in self.roots(kernel)]
        return next((entry for entry in entries if entry.exists()), entries[0])

    def written_directories(self, kernels: Iterable[Kernel]) -> list[Path]:
        """Where DeepGEMM puts kernels that it compiles, even if it finds these kernels in a later one of :meth:`roots`.

        Each holds one directory for each kernel.
        """
        return sorted({self._written(kernel).parent for kernel in kernels})

    def _written(self, kernel: Kernel) -> Path:
        return self.directory_for(kernel).joinpath(*kernel.cache_entry.parts[1:])

    def cubin(self, kernel: Kernel) -> Path:
        return self.entry(kernel) / kernel.cubin_file

    def fill(self, kernel: Kernel, stored: StoredKernel) -> Filled:
        """Make sure that DeepGEMM finds the kernel.

        A damaged entry in a later directory is left alone: the kernel is added to the first one, where DeepGEMM looks
        first.

        Raises:
            StorageError: the directory cannot be written.
        """
        if self.fault(kernel, stored) is None:
            return Filled.PRESENT
        entry = self._written(kernel)
        with atomic.storage_errors(entry):
            tmp = self.directory_for(kernel) / "tmp"
            if tmp not in self._cleaned:
                self._cleaned.add(tmp)
                atomic.remove_leftovers(tmp, _ABANDONED_SECONDS, "kregistry.")
            atomic.make_way(entry, tmp / atomic.scratch_name("kregistry"))
            if entry.exists():
                self._repair(entry, kernel, stored)
                return Filled.REPAIRED
            scratch = tmp / atomic.scratch_name("kregistry")
            try:
                atomic.write_directory(scratch, kernel.files)
                atomic.link_or_copy(stored.cubin, scratch / kernel.cubin_file)
                atomic.flush_directory(scratch)
                if not atomic.publish_directory(scratch, entry):
                    self._repair(entry, kernel, stored)
            except BaseException:
                shutil.rmtree(scratch, ignore_errors=True)
                raise
        return Filled.ADDED

    def _repair(self, entry: Path, kernel: Kernel, stored: StoredKernel) -> None:
        """File by file, each in one step; a process that has loaded the old cubin keeps it."""
        tmp = self.directory_for(kernel) / "tmp"
        tmp.mkdir(parents=True, exist_ok=True)
        scratch = tmp / atomic.scratch_name("kregistry")
        try:
            atomic.link_or_copy(stored.cubin, scratch)
            atomic.clear_directory(entry / kernel.cubin_file, tmp / atomic.scratch_name("kregistry"))
            scratch.replace(entry / kernel.cubin_file)
        finally:
            scratch.unlink(missing_ok=True)  # rename does nothing between two links of one file
        for name, content in kernel.files.items():
            if not (entry / name).is_file():
                atomic.clear_directory(entry / name, tmp / atomic.scratch_name("kregistry"))
                atomic.replace_file(entry / name, content)

    def fault(self, kernel: Kernel, stored: StoredKernel) -> str | None:
        """What is wrong with the entry of a kernel; ``None`` if it is complete and holds the stored cubin."""
        entry = self.entry(kernel)
        cubin = entry / kernel.cubin_file
        try:
            if not cubin.samefile(stored.cubin) and read_bounded(cubin, MAX_CUBIN_BYTES) != read_bounded(
                stored.cubin, MAX_CUBIN_BYTES
            ):
                return "the cubin differs from the store's"
        except (OSError, ValueError):
            return "missing" if not entry.exists() else f"{kernel.cubin_file} is missing"
        absent = [name for name in kernel.files if not (entry / name).is_file()]
        return f"{absent[0]} is missing" if absent else None
