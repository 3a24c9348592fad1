"""The parts of a plan on disk (:mod:`kregistry.plan.plan_file`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import frozen

from kregistry.events.planned import CUBLASLT_REMARK, PlannedEntry, Refusal, Segment
from kregistry.kernel import CompilerCommand, Kernel
from kregistry.manifest import Entry, Range


@frozen
class TargetSection:
    """The GPU that was planned for."""

    name: str
    compute_capability: str
    num_sms: int


@frozen
class KernelSection:
    """One kernel: DeepGEMM's name of its family, its key in the store, and the arch that it is compiled for."""

    name: str
    key: str
    arch: str


@frozen
class EntrySection:
    """One entry of the manifest, as it was planned."""

    model: str
    type: str
    label: str
    shape: dict[str, Any]
    range: Range
    segments: tuple[Segment, ...]
    refusals: tuple[Refusal, ...]
    error: str | None
    remark: str = ""

    def planned(self, entry: Entry) -> PlannedEntry:
        """The plan of ``entry``, which must be the same entry of the manifest."""
        cublaslt = self.remark == CUBLASLT_REMARK
        return PlannedEntry(entry, self.segments, self.refusals, self.error or "", cublaslt=cublaslt)


@frozen
class RecordedSection:
    """A kernel as DeepGEMM's host code asked for it: all that a build needs to compile it and to fill the JIT cache.

    Attributes:
        source: the CUDA source.
        flags, includes: of the compiler's command.
        cache_entry: its directory, below a home directory.
        cubin_file: name of the cubin in that directory.
        files: name -> content of all other files there; each character is one byte.
    """

    source: str
    flags: tuple[str, ...]
    includes: tuple[str, ...]
    cache_entry: str
    cubin_file: str
    files: dict[str, str]

    @classmethod
    def from_kernel(cls, kernel: Kernel) -> RecordedSection:
        return cls(
            kernel.source,
            kernel.command.flags,
            tuple(map(str, kernel.command.includes)),
            str(kernel.cache_entry),
            kernel.cubin_file,
            {name: content.decode("latin-1") for name, content in sorted(kernel.files.items())},
        )

    def kernel(self, section: KernelSection) -> Kernel:
        """The kernel, as it was planned."""
        return Kernel(
            section.name,
            section.key,
            self.source,
            CompilerCommand(self.flags, tuple(map(Path, self.includes))),
            Path(self.cache_entry),
            self.cubin_file,
            {name: content.encode("latin-1") for name, content in self.files.items()},
        )


@frozen
class BuiltKernel:
    """Where DeepGEMM looks for a kernel.

    Attributes:
        cache_entry: its directory, below a home directory.
        cubin_file: name of the cubin in that directory.
        files: names of all other files there.
    """

    cache_entry: str
    cubin_file: str
    files: tuple[str, ...]


@frozen
class BuildSection:
    """What a build on this machine made of a plan.

    Attributes:
        kernels: id -> the kernels that compile.
        broken: id -> what the compiler printed for a kernel that does not compile.
        complete: whether every entry was planned, and every kernel compiles or never will.
    """

    kernels: dict[str, BuiltKernel]
    broken: dict[str, str]
    complete: bool
