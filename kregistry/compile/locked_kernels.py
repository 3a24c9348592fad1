"""The kernels of a lock file with sources, ready to be compiled on this machine."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Container, Iterable, Mapping
from pathlib import Path

from kregistry.deep_gemm.allowed_commands import reason_to_refuse
from kregistry.deep_gemm.compiler import Compiler
from kregistry.deep_gemm.cubin_inputs import cubin_key, remembered_tree_digest
from kregistry.errors import InputError, MissingRequirement
from kregistry.kernel import CompilerCommand, Kernel
from kregistry.plan.lock_sources import TOOLKIT, SourcesSection, file_digests, toolkit_files
from kregistry.plan.plan_file import PlanFile, read_plan

_NAME = re.compile(r"\w{1,100}", re.ASCII)
_CUBIN = "kernel.cubin"


def read_sources(path: Path) -> tuple[PlanFile, SourcesSection]:
    """A lock file, and the sources in it.

    Raises:
        StorageError: it cannot be read.
        InputError: it is not a lock file, or holds no sources.
    """
    file = read_plan(path)
    if file.sources is None:
        raise InputError(f"{path}: a lock file without sources", f"kregistry plan FILE --sources -o {path} writes them")
    return file, file.sources


def locked_kernels(path: Path, compiler: Compiler, headers: Iterable[Path] = ()) -> dict[str, Kernel]:
    """The kernels of a lock file by their ids, with the header directories of this machine.

    They have no place in a JIT cache: a lock file does not know where DeepGEMM looks on this machine.

    Args:
        path: the lock file.
        compiler: the nvcc of this machine.
        headers: directories of DeepGEMM's headers; default: those of the installed DeepGEMM.

    Raises:
        StorageError: the file cannot be read.
        InputError: it is not a lock file with sources, or asks for something that DeepGEMM does not generate.
        MissingRequirement: this machine has another compiler or other headers.
    """
    return kernels_of(path, *read_sources(path), compiler, headers)


def kernels_of(
    path: Path, file: PlanFile, sources: SourcesSection, compiler: Compiler, headers: Iterable[Path] = ()
) -> dict[str, Kernel]:
    """The kernels of a lock file that has been read; see :func:`locked_kernels`.

    Args:
        path: of the lock file, for messages.
        file, sources: what :func:`read_sources` has returned.
    """
    if sources.nvcc != compiler.version:
        raise MissingRequirement(
            f"{path} was made with nvcc {sources.nvcc}, and {compiler.path} is nvcc {compiler.version}",
            f"install CUDA {sources.nvcc}, or write the lock file again with this compiler",
        )
    directories = _find_directories(path, sources, compiler, tuple(headers) or installed_headers())
    # What the lock file says of the files in a directory only serves messages: what is there counts.
    names = {each: _Files(() if each == TOOLKIT else paths) for each, paths in directories.items()}
    kernels: dict[str, Kernel] = {}
    for name, section in file.kernels.items():
        found = sources.kernels.get(name)
        if found is None:
            raise InputError(f"{path}: kernel {name}: its source is missing")
        if not _NAME.fullmatch(section.name) or not set(found.headers) <= directories.keys():
            reason = "its name, or the name of its headers, is not one that kregistry writes"
        else:
            reason = reason_to_refuse(found.source, found.flags, [names[each] for each in found.headers])
        if reason:
            raise InputError(f"{path}: kernel {name[:80]}: {reason}", "a lock file is never edited: write it again")
        includes = tuple(path for each in found.headers for path in directories[each])
        command = CompilerCommand(found.flags, includes)
        kernel = Kernel(section.name, section.key, found.source, command, Path(), _CUBIN, {})
        if cubin_key(found.source.encode(), command, compiler, remembered=True) != section.key or kernel.id != name:
            raise _other_key(path, kernel, sources, compiler)
        kernels[name] = kernel
    return kernels


def installed_headers() -> tuple[Path, ...]:
    """The directory of the installed DeepGEMM's headers, found without importing it."""
    spec = importlib.util.find_spec("deep_gemm")
    places = (spec.submodule_search_locations or []) if spec else []
    return tuple(path for place in places if (path := Path(place) / "include").is_dir())


def _find_directories(
    path: Path, sources: SourcesSection, compiler: Compiler, candidates: tuple[Path, ...]
) -> dict[str, tuple[Path, ...]]:
    """The directories of this machine, by the names that the lock file has for them."""
    by_digest = {remembered_tree_digest(each): each for each in candidates if each.is_dir()}
    found: dict[str, tuple[Path, ...]] = {TOOLKIT: compiler.includes[:1]}
    for digest, files in sources.directories.items():
        if digest not in by_digest:
            raise MissingRequirement(
                _difference(path, files, candidates),
                "install the DeepGEMM that the lock file names, or name the directory of its headers with --headers",
            )
        found[digest] = (by_digest[digest],)
    return found


class _Files(Container[str]):
    """The names of the files below some directories; only those that are asked for are looked up."""

    def __init__(self, directories: tuple[Path, ...]) -> None:
        self._directories = directories
        self._known: dict[object, bool] = {}

    def __contains__(self, name: object) -> bool:
        if name not in self._known:
            # pathlib raises an error for a name that is too long for a file system.
            self._known[name] = any(os.path.isfile(each / str(name)) for each in self._directories)  # noqa: PTH113
        return self._known[name]


def _difference(path: Path, files: Mapping[str, str], candidates: tuple[Path, ...]) -> str:
    """Which header differs, in the candidate that has the most headers in common with the lock file."""
    readable = [each for each in candidates if each.is_dir()]
    if not readable:
        where = ", ".join(map(str, candidates)) or "no DeepGEMM is installed"
        return f"{path} needs DeepGEMM's headers ({len(files)} files), which are not here ({where})"
    contents = {each: file_digests(each) for each in readable}
    nearest = max(readable, key=lambda each: len(contents[each].items() & files.items()))
    differing = sorted(name for name, _ in contents[nearest].items() ^ files.items())
    one = f"{nearest / differing[0]} is not the header that {path} was made with" if differing else f"{nearest} differs"
    others = len(set(differing)) - 1
    return one if others < 1 else f"{one} ({others} others differ too)"


def _other_key(path: Path, kernel: Kernel, sources: SourcesSection, compiler: Compiler) -> Exception:
    """The error for a kernel whose key is not the one in the lock file."""
    here = toolkit_files(kernel, compiler)
    header = next((name for name, digest in here.items() if sources.toolkit.get(name) != digest), None)
    if header is not None:
        return MissingRequirement(
            f"the CUDA toolkit's header {header} is not the one that {path} was made with",
            f"install CUDA {sources.nvcc} as it was there, or write the lock file again",
        )
    if compiler.profile:
        return MissingRequirement(
            f"kernel {kernel.id} of {path} has another key here: nvcc.profile of {compiler.path} was changed",
            "restore nvcc.profile, or write the lock file again with this compiler",
        )
    return InputError(
        f"{path}: kernel {kernel.id[:80]}: its source and flags do not give its key",
        "a lock file is never edited: write it again",
    )
