"""Compilers with a fault."""

from __future__ import annotations

from pathlib import Path

from kregistry.toolchain import Toolchain

#: Answers as the real compiler does, and refuses to compile.
_REFUSING = """#!/bin/sh
case "$1" in --version) exec {nvcc} --version ;; esac
echo 'kernel.cu(3): error: too many registers'
exit 2
"""


def refusing_toolkit(home: Path, toolchain: Toolchain) -> Path:
    """A ``CUDA_HOME`` whose nvcc refuses every source."""
    (home / "bin").mkdir(parents=True)
    nvcc = home / "bin" / "nvcc"
    nvcc.write_text(_REFUSING.format(nvcc=toolchain.cuda.nvcc))
    nvcc.chmod(0o755)
    (home / "include").symlink_to(toolchain.cuda.include)
    return home


#: The real compiler, whose dry run names another assembler.
_OTHER_ASSEMBLER = """#!/bin/sh
case " $* " in *" --dryrun "*) {nvcc} "$@" 2>&1 | sed 's,^#\\$ ptxas ,#$ {assembler} ,'; exit ;; esac
exec {nvcc} "$@"
"""


def compiler_with_assembler(path: Path, toolchain: Toolchain, assembler: str) -> Path:
    """An nvcc at ``path`` that compiles as the real one does, and shared front ends with another assembler."""
    path.write_text(_OTHER_ASSEMBLER.format(nvcc=toolchain.cuda.nvcc, assembler=assembler))
    path.chmod(0o755)
    return path
