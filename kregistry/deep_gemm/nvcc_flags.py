"""The arguments that nvcc takes from its environment: ``NVCC_PREPEND_FLAGS`` and ``NVCC_APPEND_FLAGS``.

They become arguments of each kernel's command, and so part of its key. nvcc itself sees only those that choose the host
compiler, which stay out of the key.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

from attrs import frozen

from kregistry.deep_gemm.variables import BY_NAME, Handling
from kregistry.errors import MissingRequirement
from kregistry.kernel import CompilerCommand
from kregistry.python_child import child_environment

PREPEND, APPEND = "NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS"

#: Flags that choose the host compiler, or how many threads nvcc uses; -ccbin and -t take a value.
_HOST_WITH_VALUE = ("-ccbin", "--compiler-bindir", "-t", "--threads")
_HOST = ("-allow-unsupported-compiler", "--allow-unsupported-compiler")
#: Flags whose value is passed on to the host compiler, or to a step of nvcc.
_PASSED_ON = (
    *("-Xcompiler", "--compiler-options", "-Xptxas", "--ptxas-options"),
    *("-Xcudafe", "-Xcicc", "-Xnvvm"),
)
#: Flags that read a file, look for nvcc's own files elsewhere, or make nvcc do something else than compile one source
#: to one output.
_READS_FILES = ("-include", "--pre-include", "-optf", "--options-file")
_ELSEWHERE = (
    *("-ldir", "--libdevice-directory", "-target-dir", "--target-directory", "-noprof", "--dont-use-profile"),
)
_OTHER_PHASE = (
    *("-o", "--output-file", "-odir", "--output-directory", "-c", "--compile", "-E", "--preprocess"),
    *("-M", "--generate-dependencies", "-MM", "--generate-nonsystem-dependencies"),
    *("-MD", "--generate-dependencies-with-compile", "-MMD", "--generate-nonsystem-dependencies-with-compile"),
    *("-MF", "--dependency-output", "-ptx", "--ptx", "-fatbin", "--fatbin", "-cubin", "--cubin", "-cuda", "--cuda"),
    *("-optix-ir", "--optix-ir", "-ltoir", "--ltoir", "-dc", "--device-c", "-dw", "--device-w"),
    *("-dlink", "--device-link", "-link", "--link", "-lib", "--lib", "-clean", "--clean-targets"),
    *("-dryrun", "--dryrun", "-run", "--run", "-fdevice-syntax-only", "--fdevice-syntax-only"),
)
#: Arguments of a step that read a file, or choose where it looks for files.
_OF_A_STEP = (
    *("-include", "-imacros", "-isystem", "-iquote", "-idirafter", "-I", "-B", "--sysroot", "-specs", "-fplugin"),
    *("@", "-optf", "--options-file", "--preinclude", "--pre-include"),
)
#: Compilers that run at once would write the same files.
_KEEPS_FILES = ("-keep", "--keep", "-keep-dir", "--keep-dir", "-save-temps", "--save-temps")


@frozen
class EnvironmentFlags:
    """The arguments of both variables.

    Attributes:
        prepended, appended: flags and include paths, in order.
        host: arguments that only choose the host compiler.
    """

    prepended: tuple[str, ...] = ()
    appended: tuple[str, ...] = ()
    host: tuple[str, ...] = ()

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> EnvironmentFlags:
        """
        Raises:
            MissingRequirement: an argument reads a file, or asks nvcc for something else than machine code.
        """
        before, host_before = _split(PREPEND, environment)
        after, host_after = _split(APPEND, environment)
        return cls(before, after, (*host_before, *host_after))

    @property
    def decide_code(self) -> tuple[str, ...]:
        """The arguments that are in the key."""
        return (*self.prepended, *self.appended)

    def apply(self, command: CompilerCommand) -> CompilerCommand:
        """The command that nvcc would run under the two variables."""
        before, after = CompilerCommand.parse(self.prepended), CompilerCommand.parse(self.appended)
        return CompilerCommand(
            (*before.flags, *command.flags, *after.flags),
            (*before.includes, *command.includes, *after.includes),
        )


def for_nvcc(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of nvcc and its steps: without the variables that would change its code.

    Raises:
        MissingRequirement: as of :meth:`EnvironmentFlags.read`.
    """
    left_out = (Handling.REMOVED, Handling.IN_KEY)
    kept = {
        name: value
        for name, value in child_environment(environment).items()
        if name not in BY_NAME or BY_NAME[name].series_1 not in left_out
    }
    host = EnvironmentFlags.read(environment).host
    return {**kept, PREPEND: shlex.join(host)} if host else kept


def _split(variable: str, environment: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(arguments that decide code, arguments that choose the host compiler) of a variable."""
    try:
        words = shlex.split(environment.get(variable, ""))
    except ValueError as error:
        raise _refused(variable, environment[variable], str(error)) from None
    code: list[str] = []
    host: list[str] = []
    rest = iter(words)
    for word in rest:
        name = word.partition("=")[0]
        if name in _HOST_WITH_VALUE:
            host += [word] if "=" in word else [word, next(rest, "")]
        elif word in _HOST:
            host.append(word)
        elif word in _PASSED_ON:  # joined with its value, so that both are seen as one
            joined = f"{word}={next(rest, '')}"
            _check(variable, environment[variable], joined, name)
            code.append(joined)
        else:
            _check(variable, environment[variable], word, name)
            code.append(word)
    return tuple(code), tuple(host)


def _check(variable: str, value: str, word: str, name: str) -> None:
    if name in _READS_FILES or _step_reads_a_file(word, name):
        raise _refused(variable, value, f"{word} reads a file, whose content is not in the key of a kernel")
    if name in _ELSEWHERE:
        raise _refused(variable, value, f"{word} makes nvcc look for its own files elsewhere")
    if name in _KEEPS_FILES:
        raise _refused(variable, value, f"{word} keeps files that compilers which run at once would share")
    if name in _OTHER_PHASE:
        raise _refused(variable, value, f"{word} asks nvcc for something else than machine code")
    if not word.startswith("-") and word.endswith((".cu", ".c", ".cc", ".cpp", ".o", ".a")):
        raise _refused(variable, value, f"{word} is another input of nvcc")


def _step_reads_a_file(word: str, name: str) -> bool:
    """Whether an argument for a step, as in ``-Xcompiler=-include,file``, names a file or a directory."""
    parts: Sequence[str] = word.replace("=", ",").split(",") if name in _PASSED_ON else ()
    return any(part.startswith(_OF_A_STEP) for part in parts[1:])


def _refused(variable: str, value: str, reason: str) -> MissingRequirement:
    return MissingRequirement(f"{variable}={value}: {reason}", f"unset {variable}, or take this argument out of it")
