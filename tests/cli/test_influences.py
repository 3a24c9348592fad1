"""What doctor says about what decides kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result

from kregistry.cli import influences as module
from kregistry.cli.influences import influences
from kregistry.deep_gemm.variables import Series

Run = Callable[..., Result]


def nvcc(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release x, V{version}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "cuda"
    nvcc(home / "bin" / "nvcc", "13.0.1")
    (home / "include").mkdir()
    (home / "include" / "cuda.h").touch()
    monkeypatch.setenv("CUDA_HOME", str(home))
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setattr(module, "installed_series", lambda: Series.ONE)
    return home


def rows() -> dict[str, tuple[str, str]]:
    return {row.what: (row.value, row.why) for row in influences()}


def test_the_compiler_and_why_that_one(toolkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows()["compiler"] == (f"{toolkit}/bin/nvcc 13.0.1", "named by CUDA_HOME")
    other = nvcc(tmp_path / "other", "12.9.41")
    monkeypatch.setenv("DG_JIT_NVCC_COMPILER", str(other))
    assert rows()["compiler"] == (f"{other} 12.9.41", "named by DG_JIT_NVCC_COMPILER")


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("DG_JIT_WITH_LINEINFO", "1", "is planned: line numbers in the machine code"),
        ("DG_JIT_DUMP_PTX", "1", "changes no kernel: writes PTX of each kernel that it compiles"),
        ("DG_NEW", "1", "is planned, although this version of kregistry does not know it"),
        ("CPATH", "/x", "is not passed on to nvcc: directories in which the host compiler looks for headers"),
        ("SGLANG_DG_CACHE_DIR", "/x", "decides where kernels are looked for: SGLang: the JIT cache"),
        (
            "NVCC_APPEND_FLAGS",
            "-O1",
            "is in the key of every kernel: arguments of nvcc; those that only choose the host",
        ),
    ],
)
def test_every_variable_that_has_an_influence(
    toolkit: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    assert name not in rows()
    monkeypatch.setenv(name, value)
    found = rows()[name]
    assert found[0] == value and found[1].startswith(why)


def test_the_caches_of_deep_gemm_and_of_installed_engines(toolkit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "installed_engines", lambda: ("sglang", "vllm"))
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("VLLM_CACHE_ROOT", "/v")
    found = {what.rstrip(" 0123456789."): row for what, row in rows().items() if what.startswith("JIT cache")}
    assert found == {
        "JIT cache of DeepGEMM": ("/h/.deep_gemm", "default, below HOME"),
        "JIT cache of sglang": ("/h/.cache/sglang/deep_gemm", "default"),
        "JIT cache of vllm": ("/v/deep_gemm", "named by VLLM_CACHE_ROOT"),
    }
    monkeypatch.setenv("DG_JIT_CACHE_DIR", "/own")
    assert rows()["JIT cache of DeepGEMM"] == ("/own", "named by DG_JIT_CACHE_DIR")


def test_case_8_what_a_server_without_the_plugin_needs(toolkit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    what = "a server without kregistry's plugin"
    assert rows()[what] == ("needs nothing", f"DeepGEMM finds {toolkit} by itself (CUDA_HOME)")
    monkeypatch.delenv("CUDA_HOME")
    monkeypatch.setattr("kregistry.toolchain._candidates", lambda environment: [(toolkit, "wheels in site-packages")])
    value, why = rows()[what]
    assert value == f"needs CUDA_HOME={toolkit}"
    assert why == "DeepGEMM does not look for a toolkit there (wheels in site-packages), and fails at its first kernel"


def test_a_server_finds_a_toolkit_on_its_path_by_itself(toolkit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_HOME")
    monkeypatch.setenv("PATH", str(toolkit / "bin"))
    what = "a server without kregistry's plugin"
    assert rows()[what] == ("needs nothing", f"DeepGEMM finds {toolkit} by itself (nvcc on PATH)")


def test_a_server_needs_the_variable_that_names_a_compiler(
    toolkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A toolkit with headers only, as an image without a compiler has it."""
    other = nvcc(tmp_path / "other", "12.9.41")
    (toolkit / "bin" / "nvcc").unlink()
    monkeypatch.setenv("DG_JIT_NVCC_COMPILER", str(other))
    row = rows()["a server without kregistry's plugin"]
    assert row == (f"needs DG_JIT_NVCC_COMPILER={other}", "its toolkit has no nvcc")


@pytest.mark.stub
def test_all_of_it_is_one_table(kregistry: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DG_JIT_DUMP_PTX", "1")
    monkeypatch.setattr("kregistry.cli.doctor_command._try_stub", lambda: "not tried")
    result = kregistry("doctor")
    assert result.code == 0
    table = result.out.partition("what decides kernels")[2]
    for row in influences():
        assert row.what in table and row.value in table
