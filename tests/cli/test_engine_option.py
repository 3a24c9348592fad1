"""Kernels go where the engine's server looks for them, and a warning says where they would not be found."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result

from kregistry.compile import BuildReport
from kregistry.store import Store

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def built(tiny_build: BuildReport, session_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The kernel and its plan are there; only the JIT cache is filled."""
    monkeypatch.setenv("KREGISTRY_STORE", str(session_store.directory))
    monkeypatch.chdir(tmp_path)


def cubins(directory: Path) -> int:
    return len(list((directory / "cache").glob("*/kernel.cubin")))


@pytest.mark.parametrize(
    ("engine", "variable", "below"),
    [
        ("sglang", "SGLANG_DG_CACHE_DIR", ""),
        ("sglang", "SGLANG_CACHE_DIR", "deep_gemm"),
        ("vllm", "VLLM_CACHE_ROOT", "deep_gemm"),
        ("vllm", "DG_JIT_CACHE_DIR", ""),
    ],
)
def test_the_option_fills_the_directory_of_the_engine(
    kregistry: Run,
    tiny_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    variable: str,
    below: str,
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "place"))
    for command in ("build", "verify"):
        result = kregistry(command, tiny_file, "--engine", engine)
        assert (result.code, result.err) == (0, "")
    assert cubins(tmp_path / "place" / below) == 1
    assert kregistry("verify", tiny_file, "--cache-dir", tmp_path / "elsewhere").code == 1


def test_the_manifest_names_the_engine(
    kregistry: Run, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "v"))
    monkeypatch.setenv("SGLANG_DG_CACHE_DIR", str(tmp_path / "s"))
    tiny_file.write_text(tiny_file.read_text().replace("target: h100", "target: h100\nengine: vllm"))
    result = kregistry("build", tiny_file)
    assert (result.code, result.err) == (0, "")
    assert (cubins(tmp_path / "v" / "deep_gemm"), cubins(tmp_path / "s")) == (1, 0)
    other = kregistry("build", tiny_file, "--engine", "sglang")
    assert (other.code, cubins(tmp_path / "s")) == (0, 1)


def test_an_unknown_engine_in_the_manifest(kregistry: Run, tiny_file: Path) -> None:
    tiny_file.write_text(tiny_file.read_text().replace("target: h100", "target: h100\nengine: sgl"))
    result = kregistry("check", tiny_file)
    assert result.code == 2
    assert "kernels.yaml:4:9: engine: unknown engine 'sgl', expected sglang or vllm" in result.err


def test_two_directories_are_one_too_many(kregistry: Run, tiny_file: Path, tmp_path: Path) -> None:
    result = kregistry("build", tiny_file, "--engine", "vllm", "--cache-dir", tmp_path / "x")
    assert (result.code, result.err) == (
        2,
        "error: --engine and --cache-dir each name a JIT cache\nhint: leave one of them out\n",
    )


@pytest.mark.parametrize(
    ("engine", "variable", "value", "reads"),
    [("sglang", "SGLANG_DG_CACHE_DIR", "s", "s"), ("vllm", "VLLM_CACHE_ROOT", "v", "v/deep_gemm")],
)
def test_an_engine_that_looks_elsewhere(
    kregistry: Run,
    tiny_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    variable: str,
    value: str,
    reads: str,
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / value))
    result = kregistry("build", tiny_file, "--cache-dir", tmp_path / "mine")
    assert result.code == 0
    assert result.err.startswith(
        f"warning: {engine} will look for kernels in {tmp_path}/{reads} ({variable}), and they are in {tmp_path}/mine: "
        f"use --engine {engine}, or set "
    )
    assert kregistry("build", tiny_file, "--cache-dir", tmp_path / reads).err == ""


def test_the_engine_of_the_manifest_looks_elsewhere(kregistry: Run, tiny_file: Path, tmp_path: Path) -> None:
    tiny_file.write_text(tiny_file.read_text().replace("target: h100", "target: h100\nengine: sglang"))
    result = kregistry("build", tiny_file, "--cache-dir", tmp_path / "mine")
    home = os.environ["HOME"]
    assert f"warning: sglang will look for kernels in {home}/.cache/sglang/deep_gemm (default)" in result.err


@pytest.mark.parametrize(
    ("value", "warning"),
    [
        ("cache", "warning: the JIT cache cache is {cwd}/cache only for a server that starts in this directory\n"),
        ("~/c", "warning: the JIT cache ~/c is a folder named ~ in the working directory: DeepGEMM expands no ~\n"),
    ],
)
def test_a_directory_that_depends_on_where_the_server_starts(
    kregistry: Run, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, warning: str
) -> None:
    monkeypatch.setenv("DG_JIT_CACHE_DIR", value)
    result = kregistry("build", tiny_file)
    assert (result.code, result.err) == (0, warning.format(cwd=tmp_path))
    assert cubins(tmp_path / value) == 1


def test_without_a_home(kregistry: Run, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    result = kregistry("build", tiny_file)
    if result.code == 3:  # DeepGEMM 0.2
        assert result.err.startswith("error: HOME is not set, and DeepGEMM 0.2 then finds no JIT cache\n")
    else:
        place = tmp_path / ".deep_gemm"
        assert f"the JIT cache .deep_gemm is {place} only for a server that starts in this directory" in result.err
        assert cubins(tmp_path / ".deep_gemm") == 1
