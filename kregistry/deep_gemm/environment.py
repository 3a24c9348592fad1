"""What an environment does to kernels, by the table of :mod:`kregistry.deep_gemm.variables`.

DeepGEMM 0.1 reads names that begin with ``DG_``. DeepGEMM 0.2 reads the ``JIT_*`` settings under two prefixes, ``DG_``
and then ``DJ_``: the first variable that is set counts, even if it is empty. All other names keep ``DG_``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from kregistry.deep_gemm.variables import BY_NAME, VARIABLES, Handling, Series, Variable
from kregistry.errors import MissingRequirement

#: Prefixes of all variables that DeepGEMM reads, in any version.
PREFIXES = ("DG_", "DJ_")

#: The JIT cache, read by 0.1 and 0.2; see :mod:`kregistry.deep_gemm.cache_layout` for how the value is read.
DG_JIT_CACHE_DIR = "DG_JIT_CACHE_DIR"
#: The same, read by 0.2 only, if ``DG_JIT_CACHE_DIR`` is not set.
DJ_JIT_CACHE_DIR = "DJ_JIT_CACHE_DIR"

#: Path of nvcc, read by 0.1 and 0.2 once, when the first kernel is needed; default: ``bin/nvcc`` below CUDA_HOME.
DG_JIT_NVCC_COMPILER = "DG_JIT_NVCC_COMPILER"
#: The same, read by 0.2 only, if ``DG_JIT_NVCC_COMPILER`` is not set.
DJ_JIT_NVCC_COMPILER = "DJ_JIT_NVCC_COMPILER"

#: ``1``: each cuBLASLt call allocates its workspace, instead of one that is kept. Read by 0.1 and 0.2.
DG_USE_TEMP_CUBLASLT_WORKSPACE = "DG_USE_TEMP_CUBLASLT_WORKSPACE"

#: Ask for NVRTC in place of nvcc: directly, and through SGLang.
NVRTC = ("DG_JIT_USE_NVRTC", "SGLANG_DG_USE_NVRTC", "SGL_DG_USE_NVRTC")

#: Where kernels are kept.
CACHE_DIRECTORIES = (DG_JIT_CACHE_DIR, DJ_JIT_CACHE_DIR)

#: A zero, as DeepGEMM's ``sscanf`` reads it. It takes an empty value, or a word, for whatever its variable held.
_ZERO = re.compile(r"\s*[+-]?0+(?!\d)")
_NUMBER = re.compile(r"\s*[+-]?\d")
_NO = ("", "0", "false", "no", "n", "off")


def present(environment: Mapping[str, str], series: Series) -> Iterator[tuple[Variable, Handling]]:
    """The rows of the table that an environment sets and this series of DeepGEMM, or nvcc, reads."""
    for variable in VARIABLES:
        if variable.name not in environment:
            continue
        handling = variable.handling(series)
        hidden = variable.name.startswith("DJ_") and f"DG_{variable.name[3:]}" in environment
        if handling is not Handling.UNREAD and not hidden:
            yield variable, handling


def unknown(environment: Mapping[str, str]) -> list[str]:
    """Variables with a prefix of DeepGEMM that are not in the table; they are treated as planned."""
    return sorted(name for name in environment if name.startswith(PREFIXES) and name not in BY_NAME)


def planned(environment: Mapping[str, str], series: Series) -> dict[str, str]:
    """The variables that change kernels or their names, with their values."""
    known = [variable.name for variable, handling in present(environment, series) if handling is Handling.PLANNED]
    return {name: environment[name] for name in sorted([*known, *unknown(environment)])}


def for_dry_run(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without those variables that a dry run does not inherit."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(PREFIXES) or name not in BY_NAME or Handling.PLANNED in _handlings(BY_NAME[name])
    }


def _handlings(variable: Variable) -> tuple[Handling, Handling]:
    return variable.series_1, variable.series_2


def removed(environment: Mapping[str, str]) -> list[str]:
    """The variables that are taken out of nvcc's environment."""
    return [
        variable.name
        for variable in VARIABLES
        if variable.series_1 is Handling.REMOVED and environment.get(variable.name)
    ]


def check_environment(environment: Mapping[str, str], series: Series, only: Collection[str] = ()) -> None:
    """Refuse an environment whose kernels cannot be planned or built.

    Args:
        environment: of the process that runs DeepGEMM.
        series: of its DeepGEMM.
        only: names of variables to look at; empty: all of the table.

    Raises:
        MissingRequirement: naming the variables, and what to unset.
    """
    refused = [
        variable
        for variable, handling in present(environment, series)
        if handling is Handling.REFUSED
        and variable.name in (only or BY_NAME)
        and not _says_no(variable.name, environment[variable.name])
    ]
    if not refused:
        return _check_numbers(environment, series, only)
    settings = " ".join(f"{variable.name}={environment[variable.name]}" for variable in refused)
    about = "; ".join(dict.fromkeys(variable.about for variable in refused))
    names = " ".join(variable.name for variable in refused)
    text = f"{settings}: kernels under this setting cannot be planned or built ({about})"
    raise MissingRequirement(text, f"unset {names}")


def _check_numbers(environment: Mapping[str, str], series: Series, only: Collection[str]) -> None:
    """Refuse what is no number where DeepGEMM reads one.

    0.1 then takes whatever its memory held, another value in each process. 0.2 takes words for yes and no too, and
    says by itself which ones it does not know, but an empty value ends every call, also where the variable changes no
    kernel, so that the dry run does not see it.
    """
    for variable, handling in present(environment, series):
        value = environment[variable.name]
        if not variable.number or only:
            continue
        if series is Series.ONE and handling is Handling.PLANNED and not _NUMBER.match(value):
            why = "DeepGEMM would read another one in each process"
        elif series is Series.TWO and handling in (Handling.PLANNED, Handling.NEUTRAL) and not value.strip():
            why = "DeepGEMM would end each call with an error"
        else:
            continue
        text = f"{variable.name}={value}: expected a whole number; {why}"
        raise MissingRequirement(text, f"unset {variable.name}, or set it to a number")


def _says_no(name: str, value: str) -> bool:
    return value.strip().lower() in _NO if name.startswith("SGL") else _ZERO.match(value) is not None
