"""Compilers that copy a cubin, or have a fault; in all else they answer as the real one."""

from __future__ import annotations

from pathlib import Path

from kregistry.toolchain import Toolchain

_REFUSING = """#!/bin/sh
case "$1" in --version) exec {nvcc} --version ;; esac
echo 'kernel.cu(3): error: too many registers'
exit 2
"""
#: Shares no front end: it does not say which steps a compile has.
_COPYING = """#!/bin/sh
case " $* " in *" --version "*) {version} ;; *" --dryrun "*) exit 1 ;; esac
while [ "$1" != -o ]; do shift; done
exec cp {cubin} "$2"
"""
#: Takes its time for each source until the file `go` stands beside it.
_SLOW = """#!/bin/sh
case " $* " in *" --version "*) exec {nvcc} --version ;; *" --dryrun "*) exit 1 ;; esac
while [ "$1" != -o ]; do shift; done
[ -e {home}/go ] || sleep {seconds}
exec cp {home}/copied.cubin "$2"
"""
_OTHER_ASSEMBLER = """#!/bin/sh
case " $* " in *" --dryrun "*) {nvcc} "$@" 2>&1 | sed 's,^#\\$ ptxas ,#$ {assembler} ,'; exit ;; esac
exec {nvcc} "$@"
"""
#: The front end is the first argument of a shell; nvcc's own becomes its parameters.
_OTHER_FRONT_END = """#!/bin/sh
case " $* " in *" --dryrun "*) {nvcc} "$@" 2>&1 | sed 's,^#\\$ "[^"]*/cicc" ,#$ sh -c "{front_end}" ,'; exit ;; esac
exec {nvcc} "$@"
"""
_FAILS_ALONE = """#!/bin/sh
case " $* " in *" --version "* | *" --dryrun "*) exec {nvcc} "$@" ;; esac
echo "nvcc error   : 'cicc' died due to signal 9 (Kill signal)"
exit 137
"""


def refusing_toolkit(home: Path, toolchain: Toolchain) -> Path:
    """A ``CUDA_HOME`` whose nvcc refuses every source."""
    (home / "bin").mkdir(parents=True)
    _write(home / "bin" / "nvcc", _REFUSING.format(nvcc=toolchain.cuda.nvcc))
    (home / "include").symlink_to(toolchain.cuda.include)
    return home


def copying_toolkit(home: Path, toolchain: Toolchain, cubin: bytes, version: str = "") -> Path:
    """A ``CUDA_HOME`` whose nvcc gives the same cubin for every source, at once; it may say another version."""
    (home / "bin").mkdir(parents=True)
    (home / "copied.cubin").write_bytes(cubin)
    major_minor = ".".join(version.split(".")[:2])
    named = f"echo 'Cuda compilation tools, release {major_minor}, V{version}'; exit"
    answer = named if version else f"exec {toolchain.cuda.nvcc} --version"
    _write(home / "bin" / "nvcc", _COPYING.format(version=answer, cubin=home / "copied.cubin"))
    (home / "include").symlink_to(toolchain.cuda.include)
    return home


def now_refuses(home: Path) -> Path:
    """Make the compiler of a copying toolkit refuse every source; the file where it notes its commands."""
    nvcc, log = home / "bin" / "nvcc", home / "refused"
    copying = 'exec cp {} "$2"'.format(home / "copied.cubin")
    script = nvcc.read_text()
    assert copying in script
    _write(nvcc, script.replace("while [", f'echo "$@" >>{log}\nwhile [').replace(copying, "exit 1"))
    return log


def slow_toolkit(home: Path, toolchain: Toolchain, cubin: bytes, seconds: float) -> Path:
    """A ``CUDA_HOME`` whose nvcc copies a cubin for every source, each after some seconds, until ``home/go`` exists."""
    (home / "bin").mkdir(parents=True)
    (home / "copied.cubin").write_bytes(cubin)
    _write(home / "bin" / "nvcc", _SLOW.format(nvcc=toolchain.cuda.nvcc, home=home, seconds=seconds))
    (home / "include").symlink_to(toolchain.cuda.include)
    return home


def compiler_with_assembler(path: Path, nvcc: Path, assembler: str) -> Path:
    """Shared front ends get to another assembler."""
    return _write(path, _OTHER_ASSEMBLER.format(nvcc=nvcc, assembler=assembler))


def compiler_with_front_end(path: Path, nvcc: Path, front_end: str) -> Path:
    """Shared front ends are another program: a script of the shell."""
    return _write(path, _OTHER_FRONT_END.format(nvcc=nvcc, front_end=front_end))


def compiler_that_fails_alone(path: Path, nvcc: Path) -> Path:
    """Shared front ends succeed, and each kernel by itself fails."""
    return _write(path, _FAILS_ALONE.format(nvcc=nvcc))


def _write(path: Path, script: str) -> Path:
    path.write_text(script)
    path.chmod(0o755)
    return path
