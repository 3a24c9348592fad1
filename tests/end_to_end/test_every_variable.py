"""Every variable of the table: a build under it, and then a server under it that compiles nothing; or a refusal.

Each row of :mod:`kregistry.deep_gemm.variables` is a test, and a row whose handling has no rule here fails. A row that
changes no plan starts from the plan that was made without it, so that a build which does not take that one would fail;
:func:`test_what_changes_no_plan_changes_none_together` plans anew under all of them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Result, run_command_line
from compilers import copying_toolkit, now_refuses
from stub_server import StubServers

from kregistry.deep_gemm.variables import BY_NAME, Handling, Series, Variable
from kregistry.stub.library import compile_stub
from kregistry.toolchain import Toolchain, installed_series, require_deep_gemm
from tests.plugins.stack import NAMES_ONLY, VERSIONS

Run = Callable[..., Result]
SERIES = installed_series()
#: One row for each handling is tested by default, and all of them in the slow run.
QUICK = {
    Series.ONE: ("DG_JIT_NVCC_COMPILER", "DG_JIT_USE_NVRTC", "NVCC_APPEND_FLAGS", "DG_JIT_DUMP_SASS", "DG_JIT_DEBUG"),
    Series.TWO: ("DJ_JIT_NVCC_COMPILER", "DJ_JIT_DEBUG", "PTXAS_FLAGS", "DG_JIT_DUMP_SASS", "DJ_JIT_CPP_STANDARD"),
}
#: Engines set these for DeepGEMM; tests/deep_gemm/test_engine_cache.py tests how they are read.
OF_ENGINES = ("SGLANG_DG_CACHE_DIR", "SGLANG_CACHE_DIR", "VLLM_CACHE_ROOT", "XDG_CACHE_HOME")
ROWS = [
    pytest.param(name, marks=() if name in QUICK[SERIES] else pytest.mark.slow)
    for name, variable in BY_NAME.items()
    if variable.handling(SERIES) is not Handling.UNREAD and name not in OF_ENGINES
]
#: Outcomes that are not part of a plan.
NO_PLAN = (Handling.NEUTRAL, Handling.REMOVED, Handling.HOST_COMPILER, Handling.LOCATION)

_MOE = "{num_experts: 8, top_k: 2, hidden: 1024, intermediate: 512, max_tokens: 384}, tokens: {start: 64, stop: 64}"
#: Entries whose kernels a variable is about, where the smallest manifest has none of them: target and entry.
ABOUT = {
    "DG_SM90_FP8_SWAP_AB": ("h100", f"{{type: fp8_mega_moe, shape: {_MOE}}}"),
    "DG_SM90_TRACE_PTR": ("h100", f"{{type: fp8_mega_moe, shape: {_MOE}}}"),
    "DG_SM90_TRACE_EPI": ("h100", f"{{type: fp8_mega_moe, shape: {_MOE}}}"),
    "DG_USE_FP8_COMBINE": ("b200", f"{{type: fp8_fp4_mega_moe, shape: {_MOE}}}"),
    "DG_USE_FP4_ACTS": ("b200", f"{{type: fp8_fp4_mega_moe, shape: {_MOE}}}"),
    "DG_USE_MXF4_KIND": ("b200", f"{{type: fp8_fp4_mega_moe, shape: {_MOE}}}"),
    "DG_MEGA_MOE_TILES": ("b200", f"{{type: bf16_mega_moe, shape: {_MOE}}}"),
    "DG_COMM_KERNEL_DEBUG": ("b200", f"{{type: fp8_fp4_mega_moe, shape: {_MOE}}}"),
}


class Plain:
    """A toolkit whose compiler takes no time, and a store with the plan that is made without any variable."""

    def __init__(self, directory: Path, toolchain: Toolchain, cubin: bytes) -> None:
        self.toolkit = copying_toolkit(directory / "cuda", toolchain, cubin)
        self.plans = directory / "store" / "plans"
        self.manifest = directory / "kernels.yaml"
        self.kernels: Any = None


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, toolchain: Toolchain, cubin: bytes, stub_directory: Path) -> Plain:
    return Plain(tmp_path_factory.mktemp("plain"), toolchain, cubin)


@pytest.fixture
def plain(made: Plain, tiny_file: Path, monkeypatch: pytest.MonkeyPatch) -> Plain:
    """The same, in the environment of a test."""
    monkeypatch.setenv("CUDA_HOME", str(made.toolkit))
    if made.kernels is None:
        shutil.copy(tiny_file, made.manifest)
        with monkeypatch.context() as patched:
            patched.setenv("KREGISTRY_STORE", str(made.plans.parent))
            result = run_command_line(patched, ["plan", str(made.manifest), "--json"])
        assert result.code == 0, result.err
        made.kernels = result.json["kernels"]
    return made


@pytest.fixture(scope="module")
def b200(toolchain: Toolchain, stub_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> StubServers:
    """Servers as a B200, started by the test that needs one."""
    library = compile_stub(toolchain, stub_directory)
    return StubServers(toolchain, library, tmp_path_factory.mktemp("b200"), "b200")


@pytest.mark.nvcc
@pytest.mark.stub
@pytest.mark.parametrize("name", ROWS)
def test_what_is_built_is_what_a_server_looks_for(
    name: str,
    kregistry: Run,
    servers: StubServers,
    b200: StubServers,
    plain: Plain,
    toolchain: Toolchain,
    cubin: bytes,
    tmp_path: Path,
    tiny_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variable = BY_NAME[name]
    handling = variable.handling(SERIES)
    if handling is Handling.REFUSED:
        return refused(variable, kregistry, tiny_file, monkeypatch)
    target, entry = ABOUT.get(name, ("h100", ""))
    if require_deep_gemm() == NAMES_ONLY and target == "b200":
        target, entry = "h100", ""  # no mega MoE of sm100 can be planned there (docs/stacks.md)
    if entry and installed_type(entry):
        tiny_file.write_text(f"version: 1\ntarget: {target}\nmodels: {{about: {{kernels: [{entry}]}}}}\n")
    other: Path | None = None
    match handling:
        case Handling.PLANNED | Handling.NEUTRAL | Handling.IN_KEY | Handling.REMOVED | Handling.HOST_COMPILER:
            monkeypatch.setenv(name, variable.example)
        case Handling.COMPILER:
            other = copying_toolkit(tmp_path / "other", toolchain, cubin, "12.9.41")
            another_compiler(name, other, monkeypatch)
        case Handling.LOCATION:
            (tmp_path / "place").mkdir()
            monkeypatch.setenv(name, str(tmp_path / "place"))
        case _:
            pytest.fail(f"no rule for {handling}")
    if handling in NO_PLAN:
        shutil.copytree(plain.plans, Path(os.environ["KREGISTRY_STORE"]) / "plans")
    built = kregistry("build", tiny_file, "--json")
    assert built.code == 0, built.err
    assert built.json["ready"] == built.json["kernels"] > 0
    if handling in NO_PLAN:
        assert plans() == {path.name for path in plain.plans.iterdir()}, "the plan was made again"
    if other is not None:  # the server finds its compiler by itself
        served = servers.serve(tiny_file, os.environ, compiler=now_refuses(other))
    elif target == "b200" and entry:
        with b200:
            served = b200.serve(tiny_file, os.environ)
    else:
        served = servers.serve(tiny_file, os.environ)
    assert served.compiled_nothing(), served
    verified = kregistry("verify", tiny_file, "--json")
    assert (verified.code, verified.json["intact"]) == (0, built.json["kernels"]), verified.err
    if handling is Handling.LOCATION:
        assert list((tmp_path / "place").rglob("kernel.cubin"))


def installed_type(entry: str) -> bool:
    """Whether the installed DeepGEMM has the function of an entry."""
    import deep_gemm

    return hasattr(deep_gemm, entry.partition("type: ")[2].partition(",")[0])


def plans() -> set[str]:
    return {path.name for path in (Path(os.environ["KREGISTRY_STORE"]) / "plans").iterdir()}


def refused(variable: Variable, kregistry: Run, tiny_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable.name, variable.example)
    monkeypatch.setenv("KREGISTRY_TARGET", "h100")
    for command in ("plan", "build", "verify", "warmup"):
        result = kregistry(command, tiny_file)
        assert (result.code, result.out) == (3, ""), command
        assert result.err.startswith(f"error: {variable.name}={variable.example}: "), command
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
@pytest.mark.slow
def test_what_changes_no_plan_changes_none_together(
    kregistry: Run, plain: Plain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planned anew under all variables that are not part of a plan."""
    for name, variable in BY_NAME.items():
        handling = variable.handling(SERIES)
        if handling is Handling.LOCATION:
            (tmp_path / name).mkdir()
            monkeypatch.setenv(name, str(tmp_path / name))
        elif handling in NO_PLAN:
            monkeypatch.setenv(name, variable.example)
    planned = kregistry("plan", plain.manifest, "--replan", "--json")
    assert planned.code == 0, planned.err
    assert planned.json["kernels"] == plain.kernels
    assert plans() == {path.name for path in plain.plans.iterdir()}


@pytest.mark.nvcc
@pytest.mark.stub
def test_a_server_without_its_kernels_would_compile(servers: StubServers, plain: Plain, tiny_file: Path) -> None:
    """What the test above sees nothing of is seen."""
    served = servers.serve(tiny_file, os.environ)
    assert len(served.compiles) == 1 and "kernel.cu" in served.compiles[0]
    assert served.error


@pytest.mark.stub
def test_the_rows_are_run_on_the_stack_that_is_installed() -> None:
    """The stacks of docs/stacks.md; a new one is added there, and its variables are traced."""
    assert require_deep_gemm() in (*VERSIONS.values(), NAMES_ONLY)
