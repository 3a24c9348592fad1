"""Families: kernels that differ in nothing but which instantiation of the same headers they ask for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TypeAlias

from attrs import frozen

from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.flags import reason_not_shareable
from kregistry.deep_gemm.generated_source import parse_source
from kregistry.kernel import CompilerCommand, Kernel, header_digests

Arguments: TypeAlias = tuple[str, ...]


@frozen
class Family:
    """Kernels with the same includes, compiled by the same command."""

    prologue: str
    command: CompilerCommand

    def digest(self, nvcc_version: str, cuda_home: Path) -> str:
        """What the family's code depends on, and no path: the same wherever headers and compiler are the same."""
        parts = [self.prologue, self.command.flags, header_digests(self.command, cuda_home), nvcc_version]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def __str__(self) -> str:
        """The first include, for people."""
        lines = (line for line in self.prologue.splitlines() if line.startswith("#include"))
        return next(lines, "#include nothing").removeprefix("#include").strip().strip('<>"')


@frozen
class Member:
    """A kernel that can share a front end with others of its family.

    Attributes:
        reference: how its source names it.
        arguments: the template arguments therein.
    """

    kernel: Kernel
    family: Family
    reference: str
    arguments: Arguments


def member_of(kernel: Kernel) -> Member:
    """
    Raises:
        CannotShare: the kernel's source or one of its flags is not known to be fit for sharing.
    """
    reason = reason_not_shareable(kernel.command.flags)
    if reason:
        raise CannotShare(reason)
    source = parse_source(kernel.source)
    if source is None:
        raise CannotShare("the source has another form than DeepGEMM's: includes and one reference to a kernel")
    family = Family(source.prologue, kernel.command)
    return Member(kernel, family, source.reference.text, source.reference.arguments)
