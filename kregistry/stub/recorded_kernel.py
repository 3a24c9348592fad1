"""Reads the kernel that a dry run has recorded: the format is written by ``nvcc_recorder.sh``, beside this file."""

from __future__ import annotations

from pathlib import Path

from kregistry.kernel import CompilerCommand, Kernel, kernel_key


def read_recorded(home: Path, cubin: Path, nvcc_version: str, cuda_home: Path) -> Kernel:
    """The kernel that a dry run below ``home`` has left at ``cubin`` (see nvcc_recorder.sh for its content)."""
    arguments, _, source = cubin.read_bytes().partition(b"\0\0")
    command = CompilerCommand.parse(argument.decode() for argument in arguments.split(b"\0"))
    name = cubin.parent.name.removeprefix("kernel.").rsplit(".", 1)[0]
    files = {path.name: path.read_bytes() for path in sorted(cubin.parent.iterdir()) if path.name != cubin.name}
    key = kernel_key(source, command, nvcc_version, cuda_home)
    entry = cubin.parent.relative_to(home)
    return Kernel(name, key, source.decode(), command, entry, cubin.name, files)
