"""The sources in a lock file: what another machine needs to compile the kernels, without torch and DeepGEMM's library.

Headers are named by their content: the machine that compiles must have the same ones.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from attrs import frozen

from kregistry.deep_gemm.compiler import Compiler
from kregistry.deep_gemm.cubin_inputs import tree_digest
from kregistry.deep_gemm.included_headers import toolkit_header_files
from kregistry.kernel import Kernel
from kregistry.plan.plan import Plan

#: Stands for a directory of the CUDA toolkit's headers, in :attr:`CompilerInput.headers`.
TOOLKIT = "toolkit"


@frozen
class CompilerInput:
    """One kernel, as a compiler needs it.

    Attributes:
        source: the CUDA source.
        flags: of the compiler's command.
        headers: the directories in which the compiler looks for headers, in order: a digest, or ``toolkit``.
    """

    source: str
    flags: tuple[str, ...]
    headers: tuple[str, ...]


@frozen
class SourcesSection:
    """The sources of all kernels of a lock file.

    Attributes:
        nvcc: version of the compiler.
        directories: digest of a directory of headers -> name of each file below it -> sha256 of its content.
        toolkit: the same of the CUDA toolkit's headers that the sources may include.
        kernels: id -> source.
    """

    nvcc: str
    directories: dict[str, dict[str, str]]
    toolkit: dict[str, str]
    kernels: dict[str, CompilerInput]

    @classmethod
    def of_plan(cls, plan: Plan, compiler: Compiler) -> SourcesSection:
        """The sources of a plan that was made with this compiler."""
        directories: dict[str, dict[str, str]] = {}
        toolkit: dict[str, str] = {}
        kernels: dict[str, CompilerInput] = {}
        for name, kernel in sorted(plan.kernels.items()):
            headers = tuple(_header_name(path, compiler) for path in kernel.command.includes)
            for digest, path in zip(headers, kernel.command.includes):
                if digest != TOOLKIT and digest not in directories:
                    directories[digest] = file_digests(path)
            toolkit |= toolkit_files(kernel, compiler)
            kernels[name] = CompilerInput(kernel.source, kernel.command.flags, headers)
        return cls(compiler.version, directories, dict(sorted(toolkit.items())), kernels)


def toolkit_files(kernel: Kernel, compiler: Compiler) -> dict[str, str]:
    """The headers of the CUDA toolkit that a kernel's source may include, by name, each with its sha256."""
    return toolkit_header_files(kernel.source.encode(), kernel.command.includes, compiler.includes)


@cache
def file_digests(directory: Path) -> dict[str, str]:
    """The sha256 of every file below a directory, by its name relative to it."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _header_name(path: Path, compiler: Compiler) -> str:
    return TOOLKIT if path.resolve() in compiler.includes else tree_digest(path)
