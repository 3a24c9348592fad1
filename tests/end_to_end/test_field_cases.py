"""What deployments set, case by case: each broke silently once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result
from compilers import copying_toolkit
from stub_server import StubServers

from kregistry import toolchain as toolchain_module
from kregistry.cli.influences import influences
from kregistry.deep_gemm.variables import Series
from kregistry.errors import MissingRequirement
from kregistry.jit_monitor import JitMonitor
from kregistry.jit_monitor.monitored_compiler import MonitoredCompiler
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.toolchain import Toolchain, installed_series

Run = Callable[..., Result]
ON_SERIES_1 = pytest.mark.skipif(installed_series() is not Series.ONE, reason="DeepGEMM 0.2 has no NVRTC")


@pytest.fixture
def toolkit(tmp_path: Path, toolchain: Toolchain, cubin: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``CUDA_HOME`` whose compiler takes no time."""
    home = copying_toolkit(tmp_path / "cuda", toolchain, cubin)
    monkeypatch.setenv("CUDA_HOME", str(home))
    return home


def nvcc(path: Path, version: str, otherwise: str = "exit 1") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    release = ".".join(version.split(".")[:2])
    text = f"echo 'Cuda compilation tools, release {release}, V{version}'; exit"
    path.write_text(f'#!/bin/sh\ncase " $* " in *" --version "*) {text} ;; esac\n{otherwise}\n')
    path.chmod(0o755)
    return path


# ---- which compiler -------------------------------------------------------------------------------------------------


def test_case_1_a_compiler_of_another_release(
    kregistry: Run,
    servers: StubServers,
    toolkit: Path,
    toolchain: Toolchain,
    cubin: bytes,
    tiny_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = copying_toolkit(tmp_path / "other", toolchain, cubin, "12.9.41")
    monkeypatch.setenv("DG_JIT_NVCC_COMPILER", str(other / "bin" / "nvcc"))
    built = kregistry("build", tiny_file, "--json")
    assert (built.code, built.json["ready"]) == (0, 1)
    assert servers.serve(tiny_file).compiled_nothing()
    assert "nvcc 12.9.41 at " in kregistry("doctor").out
    monkeypatch.delenv("DG_JIT_NVCC_COMPILER")
    assert kregistry("verify", tiny_file).code == 1  # the other compiler's kernels have other names and keys


@pytest.mark.parametrize("place", ["missing", "directory", "not executable"])
def test_case_1_a_compiler_that_is_not_there(
    kregistry: Run, toolkit: Path, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    path = tmp_path / "nvcc"
    if place == "directory":
        path.mkdir()
    elif place == "not executable":
        path.touch()
    monkeypatch.setenv("DG_JIT_NVCC_COMPILER", str(path))
    for command in (("plan", tiny_file), ("build", tiny_file), ("verify", tiny_file), ("doctor",)):
        result = kregistry(*command)
        assert result.code == 3
        assert f"DG_JIT_NVCC_COMPILER={path}: no such program" in result.out + result.err


@pytest.mark.parametrize("variable", ["CUDA_HOME", "DG_JIT_NVCC_COMPILER"])
def test_case_7_a_compiler_that_is_too_old(
    kregistry: Run, toolkit: Path, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    path = nvcc(tmp_path / "old" / "bin" / "nvcc", "12.1.105")
    (tmp_path / "old" / "include").symlink_to(toolkit / "include")
    monkeypatch.setenv(variable, str(path if variable.startswith("DG") else tmp_path / "old"))
    for command in (("plan", tiny_file), ("build", tiny_file), ("doctor",)):
        result = kregistry(*command)
        assert result.code == 3
        needed = {Series.ONE: "12.3", Series.TWO: "12.9"}[installed_series()]  # by the assertions in its library
        text = f"nvcc 12.1.105 at {path} ({variable}) is too old: DeepGEMM needs {needed} or newer"
        assert text in result.out + result.err


def test_case_7_a_compiler_that_does_not_know_the_target(
    kregistry: Run, toolkit: Path, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DG_JIT_NVCC_COMPILER", str(nvcc(tmp_path / "nvcc", "12.6.20")))
    result = kregistry("plan", tiny_file, "--target", "b200")
    assert result.code == 3
    text = "does not know the architecture of b200 (sm_100): CUDA 12.8 or newer is needed"
    if installed_series() is Series.TWO:  # no DeepGEMM 0.2 accepts a compiler that does not know sm_100
        text = "is too old: DeepGEMM needs 12.9 or newer"
    assert text in result.err


@pytest.mark.parametrize(
    "text",
    [
        "nvcc fatal   : Unsupported gpu architecture 'sm_90a'",
        "nvcc fatal   : Value 'sm_90a' is not defined for option 'gpu-architecture'",
    ],
)
def test_case_7_a_compiler_that_says_so_itself(
    kregistry: Run, toolkit: Path, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("DG_JIT_NVCC_COMPILER", str(nvcc(tmp_path / "nvcc", "13.0.1", f'echo "{text}"; exit 1')))
    result = kregistry("build", tiny_file)
    assert (result.code, result.out) == (3, "")
    assert "does not know the architecture sm_90a: CUDA 12.3 or newer is needed" in result.err
    assert list((Path(os.environ["KREGISTRY_STORE"]) / "broken").rglob("*.json")) == []


def test_case_9_the_monitor_keeps_the_compiler_of_the_second_prefix(
    toolkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = nvcc(tmp_path / "other" / "nvcc", "12.9.41")
    monkeypatch.setenv("DJ_JIT_NVCC_COMPILER", str(other))
    for name in ("DG_JIT_NVCC_COMPILER", "KREGISTRY_MONITOR", "KREGISTRY_MONITOR_PYTHON", "KREGISTRY_MONITORED_NVCC"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(toolchain_module, "installed_series", lambda: Series.TWO)
    compiler = MonitoredCompiler()
    compiler.report_to(tmp_path / "monitor")
    assert os.environ["KREGISTRY_MONITORED_NVCC"] == str(other)
    compiler.restore()


@pytest.mark.parametrize(
    ("series", "kept"), [(Series.ONE, "DG_JIT_NVCC_COMPILER"), (Series.TWO, "DG_JIT_NVCC_COMPILER")]
)
def test_the_monitor_keeps_the_compiler_of_the_first_prefix_where_both_name_one(
    toolkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, series: Series, kept: str
) -> None:
    named = {name: nvcc(tmp_path / name, "12.9.41") for name in ("DG_JIT_NVCC_COMPILER", "DJ_JIT_NVCC_COMPILER")}
    for name, path in named.items():
        monkeypatch.setenv(name, str(path))
    assert monitored(monkeypatch, tmp_path, series) == str(named[kept])


def test_the_monitor_does_not_read_a_prefix_that_its_series_does_not_read(
    toolkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DJ_JIT_NVCC_COMPILER", str(nvcc(tmp_path / "other" / "nvcc", "12.9.41")))
    assert monitored(monkeypatch, tmp_path, Series.ONE) == str(toolkit / "bin" / "nvcc")


def monitored(monkeypatch: pytest.MonkeyPatch, directory: Path, series: Series) -> str:
    """The compiler that a monitor calls for DeepGEMM of a series."""
    for name in ("KREGISTRY_MONITOR", "KREGISTRY_MONITOR_PYTHON", "KREGISTRY_MONITORED_NVCC"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(toolchain_module, "installed_series", lambda: series)
    compiler = MonitoredCompiler()
    compiler.report_to(directory / "monitor")
    found = os.environ["KREGISTRY_MONITORED_NVCC"]
    compiler.restore()
    return found


def test_a_server_that_finds_no_toolkit_dies_and_starts_with_what_doctor_says(
    kregistry: Run,
    servers: StubServers,
    tiny_file: Path,
    session_store: Store,
    cubin: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Case 8 in full: kernels are built with the wheels' compiler, where DeepGEMM does not look."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    row = next(row for row in influences() if row.what == "a server without kregistry's plugin")
    if row.value == "needs nothing":
        pytest.skip("this machine has a toolkit where DeepGEMM looks")
    shutil.copytree(session_store.directory, os.environ["KREGISTRY_STORE"])
    built = kregistry("build", tiny_file, "--json")
    assert (built.code, built.json["compiled"]) == (0, [])
    died = servers.serve(tiny_file, os.environ, compiler=tiny_file.with_name("none"))
    assert died.error and not died.calls
    name, _, value = row.value.removeprefix("needs ").partition("=")
    monkeypatch.setenv(name, value)
    assert servers.serve(tiny_file, os.environ).compiled_nothing()


# ---- NVRTC ----------------------------------------------------------------------------------------------------------


@ON_SERIES_1
@pytest.mark.parametrize(
    ("name", "value"),
    [("DG_JIT_USE_NVRTC", "1"), ("DG_JIT_USE_NVRTC", ""), ("SGLANG_DG_USE_NVRTC", "true"), ("SGL_DG_USE_NVRTC", "1")],
)
def test_case_2_the_monitor_does_not_start_where_it_would_see_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(MissingRequirement, match=f"{name}={value}: ") as caught:
        JitMonitor(Registry(load_entry_points=False), "error").start(deep_gemm_unused=True)
    assert (caught.value.exit_code, caught.value.hint) == (3, f"unset {name}")


# ---- what nvcc reads besides its arguments --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "same"),
    [
        ({"NVCC_APPEND_FLAGS": "-lineinfo", "PTXAS_FLAGS": "-O0"}, False),
        pytest.param({"NVCC_APPEND_FLAGS": "-O0 -Xptxas=-O0"}, False, marks=pytest.mark.slow),
        pytest.param({"NVCC_PREPEND_FLAGS": "-DNDEBUG"}, False, marks=pytest.mark.slow),
        ({"NVCC_PREPEND_FLAGS": "-ccbin=/usr/bin/gcc", "CPATH": "/nowhere"}, True),
        pytest.param(
            {"NVCC_APPEND_FLAGS": "-ccbin /usr/bin/gcc", "NVCC_CCBIN": "/usr/bin/gcc"}, True, marks=pytest.mark.slow
        ),
        pytest.param({"CPLUS_INCLUDE_PATH": "/nowhere"}, True, marks=pytest.mark.slow),
        pytest.param({"PTXAS_FLAGS": "-O0", "CUDAFE_FLAGS": "--x", "INCLUDES": "-I/x"}, True, marks=pytest.mark.slow),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_case_3_other_flags_are_other_kernels(
    kregistry: Run,
    toolkit: Path,
    tiny_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    same: bool,
) -> None:
    with monkeypatch.context() as shell:
        for name, value in environment.items():
            shell.setenv(name, value)
        first = kregistry("build", tiny_file, "--json")
    second = kregistry("build", tiny_file, "--json")
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert len(first.json["compiled"]) == 1
    assert len(second.json["compiled"]) == (0 if same else 1)
    assert kregistry("verify", tiny_file).code == 0


def test_case_3_a_flag_that_reads_a_file_is_refused(
    kregistry: Run, toolkit: Path, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NVCC_APPEND_FLAGS", "-include /etc/hostname")
    for command in (("plan", tiny_file), ("build", tiny_file), ("verify", tiny_file), ("doctor",)):
        result = kregistry(*command)
        assert result.code == 3
        assert "-include reads a file, whose content is not in the key of a kernel" in result.out + result.err
