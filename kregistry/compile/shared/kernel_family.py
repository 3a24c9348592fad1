"""Families: kernels with the same headers and the same command, which differ only in the template instantiation."""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.flags import reason_not_shareable
from kregistry.deep_gemm.compiler import Compiler
from kregistry.deep_gemm.cubin_inputs import cubin_key
from kregistry.deep_gemm.generated_source import parse_source
from kregistry.kernel import CompilerCommand, Kernel

Arguments: TypeAlias = tuple[str, ...]


@frozen
class KernelFamily:
    """Kernels with the same includes, compiled by the same command."""

    prologue: str
    command: CompilerCommand

    def digest(self, compiler: Compiler) -> str:
        """A hash of all that the family's code depends on; it holds no path, so it is the same on every machine."""
        return cubin_key(self.prologue.encode(), self.command, compiler, remembered=True)

    def __str__(self) -> str:
        """The first include, as a readable name."""
        lines = (line for line in self.prologue.splitlines() if line.startswith("#include"))
        return next(lines, "#include nothing").removeprefix("#include").strip().strip('<>"')


@frozen
class Member:
    """A kernel that can share a front end with others of its family.

    Attributes:
        reference: the expression by which its source names it, e.g. ``&gemm<128, 64>``.
        arguments: the template arguments of the reference.
    """

    kernel: Kernel
    family: KernelFamily
    reference: str
    arguments: Arguments


def member_of(kernel: Kernel) -> Member:
    """Find the family of a kernel.

    Raises:
        CannotShare: the kernel's source or one of its flags is not known to allow a shared front end.
    """
    reason = reason_not_shareable(kernel.command.flags)
    if reason:
        raise CannotShare(reason)
    source = parse_source(kernel.source)
    if source is None:
        raise CannotShare("the source has another form than DeepGEMM's: includes and one reference to a kernel")
    family = KernelFamily(source.prologue, kernel.command)
    return Member(kernel, family, source.reference.text, source.reference.arguments)
