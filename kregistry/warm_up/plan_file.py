"""WarmupPlan: what a warm-up needs of a plan; kept beside the store, for the other ranks and for the next start."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from kregistry.compile import BuildReport
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.events.compiled import BrokenKernel, BrokenRange
from kregistry.kernel import CompilerCommand, Kernel
from kregistry.manifest import Manifest
from kregistry.store import Store
from kregistry.store.failures import BrokenKernels, is_lasting
from kregistry.store.store import DamagedEntry
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
class _BrokenRecord:
    """One kernel that does not compile, and (number of the entry, first value, last value) where it is needed."""

    id: str
    key: str
    output: str
    ranges: tuple[tuple[int, int, int], ...]


@frozen
class WarmupPlan:
    """Where to launch what, and where the kernels are.

    Attributes:
        kernels: the kernels of the plan that compile.
        broken: those that do not.
        uses: for each entry of the manifest, (run-time value, ids of the kernels that it uses first); never a value
            that needs a kernel which does not compile.
        complete: whether every entry was planned, and every kernel compiled or judged for good.
    """

    kernels: tuple[_KernelRecord, ...]
    broken: tuple[_BrokenRecord, ...]
    uses: tuple[tuple[tuple[int, tuple[str, ...]], ...], ...]
    complete: bool

    @classmethod
    def of(cls, report: BuildReport) -> WarmupPlan:
        failed = {each.kernel.id for each in report.failed}
        kernels = tuple(
            _KernelRecord(each.name, each.key, str(each.cache_entry), each.cubin_file, tuple(sorted(each.files)))
            for each in report.plan.kernels.values()
            if each.id not in failed
        )
        broken = tuple(
            _BrokenRecord(
                each.kernel.id,
                each.kernel.key,
                each.output,
                tuple(
                    (number, start, stop)
                    for number, planned in enumerate(report.plan.entries)
                    for start, stop in planned.spans_of(each.kernel.id)
                ),
            )
            for each in report.failed
        )
        uses = tuple(tuple(planned.first_uses(without=failed)) for planned in report.plan.entries)
        complete = all(is_lasting(each) for each in report.failed) and not report.plan.problems()
        return cls(kernels, broken, uses, complete)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> WarmupPlan:
        kernels = tuple(_KernelRecord(**{**each, "files": tuple(each["files"])}) for each in content["kernels"])
        broken = tuple(_BrokenRecord(**{**each, "ranges": _triples(each["ranges"])}) for each in content["broken"])
        uses = tuple(tuple((m, tuple(ids)) for m, ids in entry) for entry in content["uses"])
        return cls(kernels, broken, uses, bool(content["complete"]))

    @property
    def total(self) -> int:
        """Kernels of the plan."""
        return len(self.kernels) + len(self.broken)

    def broken_kernels(self, manifest: Manifest) -> tuple[BrokenKernel, ...]:
        """The kernels that do not compile, with the calls that would crash a server."""
        return tuple(
            BrokenKernel(
                each.id,
                each.key,
                each.output,
                tuple(BrokenRange(manifest.entries[number], start, stop) for number, start, stop in each.ranges),
            )
            for each in self.broken
        )

    def in_place(self, store: Store, jit_cache: JitCache) -> bool:
        """Whether every kernel is in the store and in the JIT cache, intact, or still held to be broken."""
        verdicts = BrokenKernels(store.directory)
        if not all(verdicts.path(each.key).exists() for each in self.broken):
            return False
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


def _triples(content: Iterable[Iterable[int]]) -> tuple[tuple[int, int, int], ...]:
    return tuple((number, start, stop) for number, start, stop in content)
