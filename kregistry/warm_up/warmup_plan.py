"""WarmupPlan: a plan and its build, as a warm-up needs them; on disk for the other ranks and for the next start."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from kregistry.compile import BuildReport
from kregistry.compile.built_plan import build_section
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.errors import IncompleteError, InputError
from kregistry.events.compiled import BrokenKernel, BrokenRange
from kregistry.events.planned import PlannedEntry
from kregistry.kernel import CompilerCommand, Kernel
from kregistry.manifest import Manifest
from kregistry.plan.plan import arch_flag
from kregistry.plan.plan_file import read_plan
from kregistry.plan.plan_sections import BuildSection, KernelSection
from kregistry.store import Store
from kregistry.store.failures import BrokenKernels
from kregistry.store.store import DamagedEntry
from kregistry.warm_up.launcher import LaunchPoint

_HINT = "remove the file, and warm up again"


@frozen
class WarmupPlan:
    """Where to launch what, and where the kernels are.

    Attributes:
        entries: the planned entries, in the order of the manifest.
        kernels: id -> every kernel of the plan.
        build: which of them compile, and where DeepGEMM looks for these.
    """

    entries: tuple[PlannedEntry, ...]
    kernels: dict[str, KernelSection]
    build: BuildSection

    @classmethod
    def read(cls, path: Path, manifest: Manifest) -> WarmupPlan:
        """The plan in a file, for the manifest that it was made of.

        Raises:
            IncompleteError: there is no such file.
            StorageError: the file cannot be read.
            InputError: it does not hold a built plan of this manifest.
        """
        if not path.exists():
            raise IncompleteError(f"rank 0 left no plan at {path}", hint="its own message says why")
        try:
            file = read_plan(path)
        except InputError as error:
            raise InputError(error.text, _HINT) from error
        kernel_types = [entry.kernel_type for entry in manifest.entries]
        of_this_name = file.fingerprint == path.stem
        if file.build is None or not of_this_name or [section.type for section in file.entries] != kernel_types:
            raise InputError(f"{path}: not a built plan of {manifest.file}", _HINT)
        planned = tuple(section.planned(entry) for section, entry in zip(file.entries, manifest.entries))
        return cls(planned, file.kernels, file.build)

    @classmethod
    def from_build(cls, report: BuildReport) -> WarmupPlan:
        """The plan of a build of this process."""
        kernels = {
            kernel.id: KernelSection(kernel.name, kernel.key, arch_flag(kernel))
            for kernel in report.plan.kernels.values()
        }
        return cls(report.plan.entries, kernels, build_section(report))

    @property
    def total(self) -> int:
        """Number of kernels of the plan."""
        return len(self.kernels)

    def broken_kernels(self) -> tuple[BrokenKernel, ...]:
        """The kernels that do not compile, with the calls that would crash a server."""
        return tuple(
            BrokenKernel(
                kernel,
                self.kernels[kernel].key,
                output,
                tuple(
                    BrokenRange(planned.entry, start, stop)
                    for planned in self.entries
                    for start, stop in planned.spans_of(kernel)
                ),
            )
            for kernel, output in self.build.broken.items()
        )

    def in_place(self, store: Store, jit_cache: JitCache) -> bool:
        """Whether every kernel is in the store and in the JIT cache, intact, or still known to be broken."""
        known = BrokenKernels(store.directory)
        if not all(known.holds(self.kernels[kernel].key) for kernel in self.build.broken):
            return False
        for kernel in self._built():
            try:
                stored = store.get(kernel.key)
            except DamagedEntry:
                return False
            if stored is None or jit_cache.fault(kernel, stored) is not None:
                return False
            store.note_use(kernel.key)
        return True

    def directories(self, jit_cache: JitCache) -> list[Path]:
        """The directories in which DeepGEMM puts what it compiles."""
        return jit_cache.written_directories(self._built())

    def launch_points(self) -> list[LaunchPoint]:
        """The launches that load every kernel; none at a value that needs a kernel which does not compile."""
        return [
            LaunchPoint(planned.entry, m, kernels)
            for planned in self.entries
            for m, kernels in planned.first_uses(without=self.build.broken)
        ]

    def _built(self) -> list[Kernel]:
        """The kernels that compile: enough of each to find it, not enough to compile it."""
        return [
            Kernel(
                self.kernels[kernel].name,
                self.kernels[kernel].key,
                "",
                CompilerCommand((), ()),
                Path(built.cache_entry),
                built.cubin_file,
                dict.fromkeys(built.files, b""),
            )
            for kernel, built in self.build.kernels.items()
        ]
