"""Every variable of the table: a build under it, and then a server under it that compiles nothing; or a refusal.

Each row of :mod:`kregistry.deep_gemm.variables` is a test, and a row whose outcome has no rule here fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result
from compilers import copying_toolkit
from stub_server import StubServers

from kregistry.deep_gemm.variables import BY_NAME, Outcome, Series, Variable
from kregistry.toolchain import Toolchain, installed_series

Run = Callable[..., Result]
SERIES = installed_series()
#: One row for each outcome is tested by default, and all of them in the slow run.
QUICK = {
    Series.ONE: ("DG_JIT_NVCC_COMPILER", "DG_JIT_USE_NVRTC", "NVCC_APPEND_FLAGS", "DG_JIT_DUMP_SASS", "DG_JIT_DEBUG"),
    Series.TWO: ("DJ_JIT_NVCC_COMPILER", "DJ_JIT_DEBUG", "PTXAS_FLAGS", "DG_JIT_DUMP_SASS", "DJ_JIT_CPP_STANDARD"),
}
#: Engines set these for DeepGEMM; tests/deep_gemm/test_engine_cache.py tests how they are read.
OF_ENGINES = ("SGLANG_DG_CACHE_DIR", "SGLANG_CACHE_DIR", "VLLM_CACHE_ROOT", "XDG_CACHE_HOME")
ROWS = [
    pytest.param(name, marks=() if name in QUICK[SERIES] else pytest.mark.slow)
    for name, variable in BY_NAME.items()
    if variable.outcome(SERIES) is not Outcome.UNREAD and name not in OF_ENGINES
]


@pytest.fixture
def toolkit(tmp_path: Path, toolchain: Toolchain, cubin: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``CUDA_HOME`` whose compiler takes no time."""
    home = copying_toolkit(tmp_path / "cuda", toolchain, cubin)
    monkeypatch.setenv("CUDA_HOME", str(home))
    return home


@pytest.mark.nvcc
@pytest.mark.stub
@pytest.mark.parametrize("name", ROWS)
def test_what_is_built_is_what_a_server_looks_for(
    name: str,
    kregistry: Run,
    servers: StubServers,
    toolkit: Path,
    toolchain: Toolchain,
    cubin: bytes,
    tmp_path: Path,
    tiny_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variable = BY_NAME[name]
    outcome = variable.outcome(SERIES)
    if outcome is Outcome.REFUSED:
        return refused(variable, kregistry, tiny_file, monkeypatch)
    match outcome:
        case Outcome.PLANNED | Outcome.NEUTRAL | Outcome.IN_KEY | Outcome.REMOVED | Outcome.HOST_COMPILER:
            monkeypatch.setenv(name, variable.example)
        case Outcome.COMPILER:
            another_compiler(name, copying_toolkit(tmp_path / "other", toolchain, cubin, "12.9.41"), monkeypatch)
        case Outcome.LOCATION:
            (tmp_path / "place").mkdir()
            monkeypatch.setenv(name, str(tmp_path / "place"))
        case _:
            pytest.fail(f"no rule for {outcome}")
    built = kregistry("build", tiny_file, "--json")
    assert built.code == 0, built.err
    assert (built.json["ready"], built.json["kernels"]) == (1, 1)
    served = servers.serve(tiny_file, os.environ)
    assert served.compiled_nothing(), served
    verified = kregistry("verify", tiny_file, "--json")
    assert (verified.code, verified.json["intact"]) == (0, 1)
    if outcome is Outcome.LOCATION:
        assert list((tmp_path / "place").rglob("kernel.cubin"))


def refused(variable: Variable, kregistry: Run, tiny_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable.name, variable.example)
    monkeypatch.setenv("KREGISTRY_TARGET", "h100")
    for command in ("plan", "build", "verify", "warmup"):
        result = kregistry(command, tiny_file)
        assert (result.code, result.out) == (3, ""), command
        assert result.err.startswith(f"error: {variable.name}={variable.example}: ")
        assert result.err.endswith(f"hint: unset {variable.name}\n")
    doctor = kregistry("doctor")
    assert doctor.code == 3 and f"unset {variable.name}" in doctor.out


def another_compiler(name: str, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another toolkit, whose compiler is older, named by a variable."""
    if name.endswith("NVCC_COMPILER"):
        monkeypatch.setenv(name, str(other / "bin" / "nvcc"))
        return
    monkeypatch.delenv("CUDA_HOME")
    before = f"{other / 'bin'}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv(name, before if name == "PATH" else str(other))


@pytest.mark.nvcc
@pytest.mark.stub
def test_a_server_without_its_kernels_would_compile(servers: StubServers, toolkit: Path, tiny_file: Path) -> None:
    """What the test above sees nothing of is seen."""
    served = servers.serve(tiny_file, os.environ)
    assert len(served.compiles) == 1 and "kernel.cu" in served.compiles[0]
    assert served.error
