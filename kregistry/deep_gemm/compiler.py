"""Which nvcc compiles the kernels, and what is known of it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from attrs import frozen
from packaging.version import Version

from kregistry.deep_gemm.environment import DG_JIT_NVCC_COMPILER, DJ_JIT_NVCC_COMPILER
from kregistry.deep_gemm.nvcc_answers import dry_run_text, version_text
from kregistry.deep_gemm.nvcc_flags import EnvironmentFlags
from kregistry.deep_gemm.variables import Series
from kregistry.errors import MissingRequirement
from kregistry.python_child import find_program

#: For an environment without torch or DeepGEMM. In an engine's it would replace the versions that the engine needs.
INSTALL_HINT = (
    "in a clone of kregistry, pip install '.[deepgemm]' installs torch, DeepGEMM and the CUDA compiler; for the "
    "kernels of a server, run kregistry in the environment of its engine instead"
)
#: For an environment in which only the compiler is missing: neither way changes torch or DeepGEMM.
COMPILER_HINT = (
    "set CUDA_HOME to a CUDA toolkit, or unset it and run pip install 'cuda-toolkit[nvcc,cccl,crt,nvvm]'; torch and "
    "DeepGEMM stay as they are"
)
#: The oldest nvcc that DeepGEMM accepts, by its own assertions.
MINIMUM_NVCC = {Series.ONE: "12.3", Series.TWO: "12.9"}
#: The oldest nvcc that knows an architecture newer than Hopper's (compute capability).
_MINIMUM_BY_ARCH = {(10, 0): "12.8", (10, 1): "12.8", (10, 3): "12.9", (12, 0): "12.8", (12, 1): "12.9"}
_UNSUPPORTED = re.compile(
    r"Unsupported gpu architecture '(\w+)'|Value '(\w+)' is not defined for option 'gpu-(?:architecture|code)'"
)
#: What nvcc says if not the source is at fault, but its arguments, its toolkit or its host compiler.
_AT_FAULT = re.compile(
    r"^(?:nvcc fatal .*|.*unsupported (?:GNU|clang|Microsoft Visual Studio) version.*"
    r"|.*fatal error: cannot execute .*|sh: .*(?:not found|Permission denied))$",
    re.MULTILINE,
)
#: Programs of kregistry that stand in for a compiler, and the variable that names the real one.
_STANDING_IN = {"nvcc_monitor.sh": "KREGISTRY_MONITORED_NVCC", "nvcc_recorder.sh": "KREGISTRY_NVCC"}
_NO_FLAGS = EnvironmentFlags()


@frozen
class Compiler:
    """An nvcc, with all that decides its machine code besides source, headers and arguments.

    Attributes:
        path: the program.
        version: e.g. ``"13.0.88"``.
        found_by: the variable that names it, or how its toolkit was found.
        flags: the arguments that it takes from its environment.
        includes: where it looks for headers by itself, in order.
        profile: what its nvcc.profile adds to its steps, without the directories of a standard one; and what a program
            that starts nvcc changes in them.
    """

    path: Path
    version: str
    found_by: str
    flags: EnvironmentFlags = _NO_FLAGS
    includes: tuple[Path, ...] = ()
    profile: tuple[str, ...] = ()

    @classmethod
    def at(
        cls,
        path: Path,
        found_by: str,
        home: Path,
        environment: Mapping[str, str] = os.environ,
        series: Series = Series.ONE,
    ) -> Compiler:
        """Ask a compiler what it is.

        Args:
            path: the program.
            found_by: for messages.
            home: its toolkit, if it does not say by itself where its headers are.
            environment: of the build.
            series: of the DeepGEMM that calls it, which accepts no older compiler than it can use.

        Raises:
            MissingRequirement: it does not run, is too old, or takes arguments from its environment that read files.
        """
        version, needed = nvcc_version(path), MINIMUM_NVCC[series]
        if Version(version) < Version(needed):
            raise MissingRequirement(
                f"nvcc {version} at {path} ({found_by}) is too old: DeepGEMM needs {needed} or newer",
                f"install a newer CUDA toolkit, or unset {found_by}" if found_by.isupper() else COMPILER_HINT,
            )
        flags = EnvironmentFlags.read(environment)
        includes, profile = _profile(path)
        return cls(path, version, found_by, flags, includes or (home / "include", home / "include" / "cccl"), profile)


def named_compiler(environment: Mapping[str, str], series: Series) -> tuple[Path, str] | None:
    """The compiler that a variable names, and the variable; ``None`` if none does, so that the toolkit's is used.

    A program of kregistry that stands in for a compiler is never the answer, but the one behind it.

    Raises:
        MissingRequirement: there is no such program.
    """
    names = (DG_JIT_NVCC_COMPILER,) if series is Series.ONE else (DG_JIT_NVCC_COMPILER, DJ_JIT_NVCC_COMPILER)
    variable = next((name for name in names if name in environment), "")
    value = environment.get(variable, "")
    while Path(value).name in _STANDING_IN:
        value = environment.get(_STANDING_IN[Path(value).name], "")
    if not value:
        return None
    found = find_program(value, environment)
    if found is None:
        raise MissingRequirement(
            f"{variable}={value}: no such program", f"set it to the path of an nvcc, or unset {variable}"
        )
    return Path(found), variable


@cache
def nvcc_version(nvcc: Path) -> str:
    """The version that ``nvcc --version`` prints, e.g. ``"13.0.88"``.

    Raises:
        MissingRequirement: it does not run, or prints no version.
    """
    try:
        output = version_text(nvcc)
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingRequirement(f"{nvcc} does not run: {error}", COMPILER_HINT) from error
    match = re.search(r"V(\d+\.\d+\.\d+)", output)
    if match is None:
        raise MissingRequirement(f"{nvcc} --version names no version: {output.strip()[:200]!r}", COMPILER_HINT)
    return match.group(1)


def check_architecture(compiler: Compiler, name: str, major: int, minor: int) -> None:
    """Refuse a compiler that is older than a GPU.

    Args:
        compiler: the compiler.
        name: of the GPU, for the message.
        major, minor: its compute capability.

    Raises:
        MissingRequirement: naming the version that is needed.
    """
    needed = _MINIMUM_BY_ARCH.get((major, minor))
    if needed is not None and Version(compiler.version) < Version(needed):
        raise MissingRequirement(
            f"nvcc {compiler.version} at {compiler.path} ({compiler.found_by}) does not know the architecture of "
            f"{name} (sm_{major}{minor}): CUDA {needed} or newer is needed",
            "install a newer CUDA toolkit, and name its nvcc in DG_JIT_NVCC_COMPILER",
        )


def compiler_error(output: str, nvcc: Path) -> MissingRequirement | None:
    """The error for a compiler that would fail with every source; ``None`` if its output says nothing so.

    Args:
        output: what it printed.
        nvcc: the compiler.
    """
    found = _UNSUPPORTED.search(output)
    if found is not None:
        return _architecture_error(found[1] or found[2], nvcc)
    at_fault = _AT_FAULT.search(output)
    if at_fault is None:
        return None
    return MissingRequirement(
        f"nvcc {nvcc_version(nvcc)} at {nvcc} cannot compile here: {' '.join(at_fault[0].split())}",
        "kregistry doctor shows the variables that nvcc reads; NVCC_CCBIN names another host compiler",
    )


def _architecture_error(name: str, nvcc: Path) -> MissingRequirement:
    digits = "".join(filter(str.isdigit, name))
    needed = _MINIMUM_BY_ARCH.get((int(digits[:-1] or 0), int(digits[-1:] or 0)), MINIMUM_NVCC[Series.ONE])
    return MissingRequirement(
        f"nvcc {nvcc_version(nvcc)} at {nvcc} does not know the architecture {name}: CUDA {needed} or newer is needed",
        "install a newer CUDA toolkit, and name its nvcc in DG_JIT_NVCC_COMPILER",
    )


@cache
def _profile(nvcc: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """(directories of headers, other additions) of nvcc.profile, as ``nvcc --dryrun`` prints them.

    Both are empty for a compiler that does not print its steps.
    """
    values: dict[str, str] = {}
    for line in dry_run_text(nvcc).splitlines():
        name, equals, value = line.removeprefix("#$ ").partition("=")
        if line.startswith("#$ ") and equals and name.strip().isidentifier():
            values[name.strip()] = value
    if "TOP" not in values:
        return (), ()
    includes = tuple(_directories(values))
    top = Path(values["TOP"]).resolve()
    foreign = [f"-I{each}" for each in includes if not each.is_relative_to(top)]
    added = [f"{name}={value}" for name in _ADDED if (value := " ".join(values.get(name, "").split()))]
    return includes, (*foreign, *added, *_of_a_wrapper(nvcc, top / "bin" / "nvcc"))


#: Begins what a program that starts nvcc changes in its steps.
WRAPPED = "wrapper: "


def _of_a_wrapper(program: Path, nvcc: Path) -> Iterator[str]:
    """The arguments of steps that a program which starts nvcc adds to those of nvcc itself, and those that it drops."""
    if not nvcc.is_file() or program.resolve() == nvcc.resolve():
        return
    wrapped, plain = (_arguments(dry_run_text(each)) for each in (program, nvcc))
    yield from (f"{WRAPPED}+{each}" for each in sorted(wrapped - plain))
    yield from (f"{WRAPPED}-{each}" for each in sorted(plain - wrapped))


def _arguments(dry_run: str) -> set[str]:
    """The arguments of all steps, without temporary files, the toolkit's place, and what is the host compiler's."""
    lines = [line.removeprefix("#$ ") for line in dry_run.splitlines() if line.startswith("#$ ")]
    top = next((line.removeprefix("TOP=") for line in lines if line.startswith("TOP=")), "")
    steps = [line for line in lines if not line.partition("=")[0].strip().isidentifier()]
    words = {word for step in steps for word in re.split(r"[\s\"]+", step.strip().partition(" ")[2])}
    here = {word for word in words if word and "tmpxft" not in word and not word.startswith("--gnu_version")}
    return {word.replace(top, "TOP") if top else word for word in here}


#: Variables of nvcc.profile whose value becomes arguments of a step that makes machine code.
_ADDED = ("CUDAFE_FLAGS", "PTXAS_FLAGS", "NVVM_FLAGS", "OCG_FLAGS")


def _directories(values: Mapping[str, str]) -> Iterator[Path]:
    """The directories of ``INCLUDES`` and ``SYSTEM_INCLUDES``."""
    words = re.findall(r'"([^"]*)"|(\S+)', f"{values.get('INCLUDES', '')} {values.get('SYSTEM_INCLUDES', '')}")
    for quoted, plain in words:
        word = (quoted or plain).removeprefix("-I")
        if word and word != "-isystem":
            yield Path(word).resolve()
