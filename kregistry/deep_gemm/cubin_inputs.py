"""What decides a cubin: the one answer, for the key of the store, the digest of a family and the fingerprint of a plan.

Source, headers, arguments, compiler: everything counts by its content, and no path does, so that the answer is the same
on every machine. The headers of the CUDA toolkit count if the source may include them. The host compiler does not
count: it only preprocesses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from kregistry.deep_gemm import remembered as memory
from kregistry.deep_gemm.compiler import Compiler
from kregistry.deep_gemm.included_headers import remembered_toolkit_headers, toolkit_headers
from kregistry.kernel import CompilerCommand


def cubin_inputs(
    source: bytes, command: CompilerCommand, compiler: Compiler, *, remembered: bool = False
) -> dict[str, Any]:
    """Everything that the machine code of a source depends on, as plain values.

    Args:
        source: the text, or the part of it that kernels have in common.
        command: the command that compiles it, with the arguments that nvcc takes from its environment.
        compiler: the nvcc that runs it.
        remembered: headers are not read again if neither their times nor their sizes have changed.
    """
    toolkit = remembered_toolkit_headers if remembered else toolkit_headers
    return {
        "source": hashlib.sha256(source).hexdigest(),
        "headers": [_header_digest(path, compiler, remembered) for path in command.includes],
        "toolkit_headers": toolkit(source, command.includes, compiler.includes),
        "compiler": f"nvcc {compiler.version}",
        "profile": profile_inputs(compiler),
        "flags": command.flags,
    }


def cubin_key(source: bytes, command: CompilerCommand, compiler: Compiler, *, remembered: bool = False) -> str:
    """sha256 over :func:`cubin_inputs`: the key of a kernel in the store, or of a family."""
    inputs = cubin_inputs(source, command, compiler, remembered=remembered)
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def profile_inputs(compiler: Compiler) -> list[str]:
    """What a changed nvcc.profile adds: arguments as they are, directories of headers by their content."""
    return [f"-I{tree_digest(Path(each[2:]))}" if each.startswith("-I") else each for each in compiler.profile]


def _header_digest(path: Path, compiler: Compiler, remembered: bool) -> str:
    """A directory of the toolkit's headers counts by those that a source includes."""
    if _resolved(path) in compiler.includes:
        return "toolkit"
    return remembered_tree_digest(path) if remembered else tree_digest(path)


@cache
def _resolved(path: Path) -> Path:
    return path.resolve()


@cache
def remembered_tree_digest(directory: Path) -> str:
    """The same as :func:`tree_digest`, remembered on this machine: for the start of a server."""

    def compute() -> tuple[str, Iterable[str]]:
        return tree_digest(directory), [str(directory), *map(str, directory.rglob("*"))]

    return memory.remembered(hashlib.sha256(f"tree {directory}".encode()).hexdigest(), compute)


@cache
def tree_digest(directory: Path) -> str:
    """sha256 over the relative names and the contents of all files below a directory."""
    digest = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(directory)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
