"""What decides kernels on this machine, for ``kregistry doctor``: compiler, variables, places, and a bare server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from kregistry.deep_gemm.cache_layout import SERIES_1, SERIES_2
from kregistry.deep_gemm.engine_cache import engine_cache, installed_engines
from kregistry.deep_gemm.environment import planned, present, unknown
from kregistry.deep_gemm.variables import BY_NAME, Handling, Series
from kregistry.errors import MissingRequirement
from kregistry.toolchain import CudaToolkit, find_cuda_toolkit, installed_series

#: Variables that every environment has: they are shown with what they decide, and not by themselves.
_EVERYWHERE = ("PATH", "HOME")
_EFFECTS = {
    Handling.PLANNED: "is planned",
    Handling.NEUTRAL: "changes no kernel",
    Handling.COMPILER: "chooses the compiler",
    Handling.IN_KEY: "is in the key of every kernel",
    Handling.HOST_COMPILER: "is not in the keys",
    Handling.REMOVED: "is not passed on to nvcc",
    Handling.REFUSED: "is refused, unless it says no",
    Handling.LOCATION: "decides where kernels are looked for",
}


@frozen
class Influence:
    """One row: what it is, its value, and why it has this value or what it does."""

    what: str
    value: str
    why: str


def influences() -> list[Influence]:
    """All rows, for this process's environment."""
    series = installed_series()
    try:
        toolkit = find_cuda_toolkit()
    except MissingRequirement:  # a check of its own says so
        toolkit = None
    rows = [*_compiler(toolkit), *_variables(series), *_places(series)]
    return [*rows, _bare_server(toolkit)] if toolkit else rows


def _compiler(toolkit: CudaToolkit | None) -> Iterator[Influence]:
    if toolkit is not None:
        compiler = toolkit.compiler
        yield Influence("compiler", f"{compiler.path} {compiler.version}", _found_by(compiler.found_by))
        yield Influence("CUDA headers", ", ".join(map(str, compiler.includes)), "of this compiler")


def _found_by(reason: str) -> str:
    return f"named by {reason}" if reason in BY_NAME else f"found by: {reason}"


def _variables(series: Series) -> Iterator[Influence]:
    for variable, handling in present(os.environ, series):
        if variable.name not in _EVERYWHERE:
            why = f"{_EFFECTS[handling]}: {variable.about}"
            yield Influence(variable.name, os.environ[variable.name], why)
    for name in unknown(os.environ):
        why = "is planned, although this version of kregistry does not know it"
        yield Influence(name, planned(os.environ, series)[name], why)


def _places(series: Series) -> Iterator[Influence]:
    layout = SERIES_1 if series is Series.ONE else SERIES_2
    variable = next((name for name in layout.variables if os.environ.get(name)), "")
    roots = ", ".join(str(root.absolute()) for root in layout.roots())
    yield Influence("JIT cache of DeepGEMM", roots, _found_by(variable) if variable else "default, below HOME")
    for engine in installed_engines():
        cache = engine_cache(engine)
        why = "default" if cache.decided_by == "default" else _found_by(cache.decided_by)
        yield Influence(f"JIT cache of {engine} {cache.version}", str(cache.directory), why)


def _bare_server(toolkit: CudaToolkit) -> Influence:
    """What a server would need that runs DeepGEMM without kregistry's plugin, which sets CUDA_HOME where it has to."""
    what = "a server without kregistry's plugin"
    places = {"CUDA_HOME", "CUDA_PATH", "nvcc on PATH", "/usr/local/cuda"}  # where DeepGEMM itself looks
    if toolkit.found_by not in places:
        why = f"DeepGEMM does not look for a toolkit there ({toolkit.found_by}), and fails at its first kernel"
        return Influence(what, f"needs CUDA_HOME={toolkit.home}", why)
    if not Path(toolkit.home, "bin", "nvcc").is_file():
        return Influence(what, f"needs {toolkit.compiler.found_by}={toolkit.nvcc}", "its toolkit has no nvcc")
    return Influence(what, "needs nothing", f"DeepGEMM finds {toolkit.home} by itself ({toolkit.found_by})")
