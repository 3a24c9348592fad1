"""Finds the CUDA toolkit, the compilers, torch and DeepGEMM of this machine, without importing any of them.

The compiler is the one that DeepGEMM itself would use in this environment, see :mod:`kregistry.deep_gemm.compiler`.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shlex
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

from attrs import frozen
from packaging.version import Version

from kregistry.deep_gemm.compiler import COMPILER_HINT, INSTALL_HINT, WRAPPED, Compiler, named_compiler
from kregistry.deep_gemm.environment import check_environment, removed
from kregistry.deep_gemm.nvcc_flags import APPEND, PREPEND
from kregistry.deep_gemm.variables import Series
from kregistry.deep_gemm.version import deep_gemm_version, series_of
from kregistry.errors import MissingRequirement
from kregistry.python_child import find_program, search_path
from kregistry.scratch import refuse_unless_literal

_log = logging.getLogger("kregistry.toolchain")
#: The oldest torch that works. torch is installed by the extra `deepgemm`, so pip does not check this by itself.
MINIMUM_TORCH = "2.6"


@frozen
class CudaToolkit:
    """A CUDA toolkit, and the compiler that DeepGEMM uses with it.

    Attributes:
        home: the directory that DeepGEMM calls CUDA_HOME.
        compiler: its nvcc, or another one that a variable names.
        found_by: how the toolkit was found, for messages.
    """

    home: Path
    compiler: Compiler
    found_by: str

    @property
    def nvcc(self) -> Path:
        return self.compiler.path

    @property
    def version(self) -> str:
        """The version of nvcc, e.g. ``"13.0.88"``."""
        return self.compiler.version

    @property
    def include(self) -> Path:
        return self.home / "include"


def _candidates(environment: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """The places where DeepGEMM looks, in its order, and then the PyPI wheels, where DeepGEMM does not look.

    The module search path may cost the start of an interpreter: it is only asked for if no place before has a compiler.
    """
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if environment.get(variable):
            yield Path(environment[variable]), variable
            return
    on_path = find_program("nvcc", environment)
    if on_path:
        yield Path(on_path).parent.parent, "nvcc on PATH"
    yield Path("/usr/local/cuda"), "/usr/local/cuda"
    places = [sysconfig.get_path("purelib"), *search_path()]  # never use a compiler of the current directory
    for place in dict.fromkeys(places):
        for wheels in sorted(Path(place).glob("nvidia/cu[0-9]*")):
            yield wheels, "wheels in site-packages"


def find_cuda_toolkit(environment: Mapping[str, str] = os.environ) -> CudaToolkit:
    """The CUDA toolkit and the compiler that DeepGEMM would use, or those in site-packages.

    Raises:
        InputError: the compiler, its toolkit or DeepGEMM has a path that a shell would not take literally.
        MissingRequirement: there is no nvcc, CUDA_HOME names a directory without one, or it does not run or is too old.
    """
    series = installed_series()
    named = named_compiler(environment, series)
    for place in _deep_gemm_places():
        refuse_unless_literal(place, "DeepGEMM")
    if named is not None:
        refuse_unless_literal(named[0], named[1])
    tried: list[tuple[Path, str]] = []
    for home, found_by in _candidates(environment):
        tried.append((home, found_by))
        nvcc = home / "bin" / "nvcc"
        if (named is not None or nvcc.is_file()) and (home / "include" / "cuda.h").is_file():
            refuse_unless_literal(home, found_by)
            path, reason = named or (nvcc, found_by)
            return CudaToolkit(home, Compiler.at(path, reason, home, environment, series), found_by)
    places = ", ".join(f"{home} ({found_by})" for home, found_by in tried)
    raise MissingRequirement(f"no CUDA compiler (bin/nvcc and include/cuda.h) in {places}", COMPILER_HINT)


def _deep_gemm_places() -> list[Path]:
    """Where DeepGEMM is installed: its headers are there."""
    loaded = sys.modules.get("deep_gemm")
    spec = importlib.util.find_spec("deep_gemm") if loaded is None else getattr(loaded, "__spec__", None)
    return [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []


def installed_series() -> Series:
    """The series of the installed DeepGEMM."""
    return series_of(deep_gemm_version())


def find_c_compiler(environment: Mapping[str, str] = os.environ) -> str:
    """A C compiler. It compiles the stub GPU, and nvcc needs it too.

    Raises:
        MissingRequirement: there is none.
    """
    for name in (environment.get("CC", ""), "cc", "gcc", "clang"):
        path = find_program(name, environment) if name else None
        if path:
            return path
    raise MissingRequirement("no C compiler (cc, gcc or clang) on PATH", "apt-get install g++, or set CC")


def any_torch_version() -> str:
    """Version of the installed torch, with or without CUDA.

    Raises:
        MissingRequirement: torch is missing or too old.
    """
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        raise MissingRequirement("torch is not installed", INSTALL_HINT) from None
    if Version(version) < Version(MINIMUM_TORCH):
        raise MissingRequirement(f"torch {version} is too old: expected {MINIMUM_TORCH} or newer", INSTALL_HINT)
    return version


def torch_version() -> str:
    """Version of the installed torch, which must be a build for CUDA.

    Raises:
        MissingRequirement: torch is missing, too old, or a build without CUDA.
    """
    version = any_torch_version()
    if "+cpu" in version or not _has_cuda_libraries():
        raise MissingRequirement(
            f"torch {version} is a build without CUDA; planning runs CUDA's host code, although no GPU",
            f"pip uninstall torch, then pip install torch=={Version(version).public}: PyPI has the CUDA build, which "
            "works on a machine without a GPU",
        )
    return version


def _has_cuda_libraries() -> bool:
    spec = importlib.util.find_spec("torch")
    locations = (spec.submodule_search_locations or []) if spec else []
    return any((Path(place) / "lib" / "libtorch_cuda.so").exists() for place in locations)


def require_deep_gemm() -> str:
    """Version of the installed DeepGEMM.

    Raises:
        MissingRequirement: there is no module ``deep_gemm``.
    """
    version = deep_gemm_version()
    if version is None:
        raise MissingRequirement("DeepGEMM (the module deep_gemm) is not installed", INSTALL_HINT)
    return version


@frozen
class Versions:
    """The versions that a plan depends on."""

    deep_gemm: str
    torch: str
    nvcc: str

    def to_json(self) -> dict[str, str]:
        return {"deep_gemm": self.deep_gemm, "torch": self.torch, "nvcc": self.nvcc}


@frozen
class Toolchain:
    """The software that a dry run and a build need on the machine."""

    cuda: CudaToolkit
    c_compiler: str
    versions: Versions


def find_toolchain() -> Toolchain:
    """Find torch, DeepGEMM, the CUDA toolkit and a C compiler, for an environment in which kernels can be built.

    Raises:
        MissingRequirement: something is missing, and the hint names the command that installs it; or a variable asks
            for kernels that cannot be planned or built.
    """
    torch = torch_version()
    deep_gemm = require_deep_gemm()
    check_environment(os.environ, series_of(deep_gemm))
    cuda = find_cuda_toolkit()
    compiler = find_c_compiler()
    for remark in compiler_remarks(os.environ, cuda.compiler):
        _warn_once(remark)
    return Toolchain(cuda, compiler, Versions(deep_gemm, torch, cuda.version))


def compiler_remarks(environment: Mapping[str, str], compiler: Compiler) -> list[str]:
    """What an environment would do to machine code, and what is done about it: a sentence for each variable."""
    remarks = [
        f"{name}={environment[name]} is not passed on to nvcc: it would change kernels without being in their keys"
        for name in removed(environment)
    ]
    added = {PREPEND: compiler.flags.prepended, APPEND: compiler.flags.appended}
    remarks += [
        f"{name} adds {shlex.join(flags)} to every kernel: these are other kernels than those without it"
        for name, flags in added.items()
        if flags
    ]
    wrapped = [each.removeprefix(WRAPPED) for each in compiler.profile if each.startswith(WRAPPED)]
    profile = [each for each in compiler.profile if not each.startswith(WRAPPED)]
    if profile:
        remarks.append(f"the nvcc.profile of {compiler.path} adds {' '.join(profile)} to every kernel")
    if wrapped:
        remarks.append(f"{compiler.path} changes the arguments of nvcc for every kernel: {' '.join(wrapped)}")
    return remarks


@cache
def _warn_once(text: str) -> None:
    _log.warning("warning: %s", text)
