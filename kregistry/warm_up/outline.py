"""Outline: what a warm-up needs of a plan; kept beside the store, for the other ranks and for the next start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from kregistry.build import BuildReport
from kregistry.cache import JitCache, Store
from kregistry.cache.store import DamagedEntry
from kregistry.kernel import CompilerCommand, Kernel
from kregistry.manifest import Manifest
from kregistry.warm_up.launcher import LaunchPoint


@frozen
class _KernelRecord:
    """Where one kernel belongs."""

    name: str
    key: str
    cache_entry: str
    cubin_file: str
    files: tuple[str, ...]

    def kernel(self) -> Kernel:
        """As much of the kernel as is needed to look after it; not enough to compile it."""
        files = dict.fromkeys(self.files, b"")
        return Kernel(self.name, self.key, "", CompilerCommand((), ()), Path(self.cache_entry), self.cubin_file, files)


@frozen
class Outline:
    """Where to launch what, and where the kernels are.

    Attributes:
        kernels: all kernels of the plan.
        uses: for each entry of the manifest, (run-time value, ids of the kernels that it uses first).
        complete: whether every entry was planned and every kernel compiled.
    """

    kernels: tuple[_KernelRecord, ...]
    uses: tuple[tuple[tuple[int, tuple[str, ...]], ...], ...]
    complete: bool

    @classmethod
    def of(cls, report: BuildReport) -> Outline:
        kernels = tuple(
            _KernelRecord(each.name, each.key, str(each.cache_entry), each.cubin_file, tuple(sorted(each.files)))
            for each in report.plan.kernels.values()
        )
        uses = tuple(tuple(planned.first_uses()) for planned in report.plan.entries)
        return cls(kernels, uses, not report.failed and not report.plan.problems())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Outline:
        kernels = tuple(_KernelRecord(**{**each, "files": tuple(each["files"])}) for each in content["kernels"])
        uses = tuple(tuple((m, tuple(ids)) for m, ids in entry) for entry in content["uses"])
        return cls(kernels, uses, bool(content["complete"]))

    def in_place(self, store: Store, jit_cache: JitCache) -> bool:
        """Whether every kernel is in the store and in the JIT cache, intact."""
        for record in self.kernels:
            kernel = record.kernel()
            try:
                stored = store.get(kernel.key)
            except DamagedEntry:
                return False
            if stored is None or jit_cache.fault(kernel, stored) is not None:
                return False
        return True

    def directories(self, jit_cache: JitCache) -> list[Path]:
        """The directories in which DeepGEMM keeps the kernels."""
        return sorted({jit_cache.entry(record.kernel()).parent for record in self.kernels})

    def launch_points(self, manifest: Manifest) -> list[LaunchPoint]:
        return [
            LaunchPoint(entry, m, kernels) for entry, uses in zip(manifest.entries, self.uses) for m, kernels in uses
        ]
