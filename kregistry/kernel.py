"""Kernel: one compiled variant that DeepGEMM's host code requests, with a key that is the same on every machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import field, frozen

_INCLUDE_FLAGS = ("-I", "--include-path", "-isystem", "--system-include")
_OUTPUT_FLAGS = ("-o", "--output-file")


@frozen
class CompilerCommand:
    """A compiler command in two parts: flags, which determine the machine code, and include paths, which do not.

    Attributes:
        flags: all arguments except source, output and include paths, in order.
        includes: include paths, in order.
    """

    flags: tuple[str, ...]
    includes: tuple[Path, ...]

    @classmethod
    def parse(cls, arguments: Iterable[str]) -> CompilerCommand:
        """Split the arguments of an nvcc command; ``arguments`` does not contain the compiler itself."""
        flags: list[str] = []
        includes: list[Path] = []
        pending: str | None = None
        for argument in arguments:
            if pending is not None:
                if pending in _INCLUDE_FLAGS:
                    includes += map(Path, argument.split(","))
                pending = None
            elif argument in (*_INCLUDE_FLAGS, *_OUTPUT_FLAGS):
                pending = argument
            elif argument.endswith(".cu"):
                continue
            else:
                joined = next((flag for flag in _INCLUDE_FLAGS if argument.startswith(flag)), None)
                if joined is None:
                    flags.append(argument)
                else:
                    includes += map(Path, argument[len(joined) :].lstrip("=").split(","))
        return cls(tuple(flags), tuple(includes))

    def arguments(self, source: Path, output: Path) -> list[str]:
        """The arguments of the command, for another source and output file."""
        return [str(source), *self.flags, *(f"-I{path}" for path in self.includes), "-o", str(output)]


@frozen
class Kernel:
    """One compiled variant.

    Attributes:
        name: DeepGEMM's name of the family, e.g. ``sm90_fp8_gemm_1d2d``.
        key: sha256 over source, header texts, compiler version and flags, without any path: the key of the store.
        source: the CUDA source.
        command: the command with which DeepGEMM compiles it.
        cache_entry: directory of the kernel below a home directory, e.g. ``.deep_gemm/cache/kernel.NAME.HASH``; empty
            for a kernel of a lock file, which does not know where DeepGEMM looks on this machine.
        cubin_file: name of the cubin in that directory.
        files: name and content of every other file that DeepGEMM keeps in that directory.
    """

    name: str
    key: str
    source: str = field(repr=False)
    command: CompilerCommand = field(repr=False)
    cache_entry: Path
    cubin_file: str = field(repr=False)
    files: Mapping[str, bytes] = field(repr=False, eq=False)

    @property
    def has_cache_entry(self) -> bool:
        return bool(self.cache_entry.parts)

    @property
    def id(self) -> str:
        """Short and stable: the same on every machine with the same sources, headers, compiler and flags."""
        return f"{self.name}.{self.key[:16]}"
