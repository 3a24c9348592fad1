"""A whole warm-up in a process of its own. The GPU is the stub; plan, store, JIT cache and DeepGEMM are real."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import kregistry
from kregistry.compile import BuildReport
from kregistry.errors import InputError, MissingRequirement, UnknownNameError
from kregistry.manifest import Manifest
from kregistry.toolchain import Toolchain
from kregistry.warm_up.warm_up import prepare_process


def test_every_kernel_is_loaded_and_nothing_is_compiled(warm_run: dict[str, Any], tiny_build: BuildReport) -> None:
    report = warm_run["report"]
    assert (report["kernels"], report["loaded"], report["launches"]) == (1, 1, 1)
    assert report["compiled"] == report["failed"] == report["left_on_disk"] == []
    assert (report["build"]["ready"], report["build"]["compiled"]) == (1, [])
    assert report["peak_bytes"] == tiny_build.plan.entries[0].nbytes


def test_the_target_is_read_off_the_device(warm_run: dict[str, Any]) -> None:
    assert warm_run["target"] == "detected-h100-80gb-hbm3"


def test_the_jit_cache_is_deep_gemms_own(warm_run: dict[str, Any]) -> None:
    (cubin,) = Path(warm_run["home"], ".deep_gemm").rglob("*.cubin")
    assert warm_run["report"]["build"]["cache_directory"] == str(cubin.parents[2])


def test_the_events_of_the_launches(warm_run: dict[str, Any]) -> None:
    assert [name for name, _ in warm_run["events"]] == [
        "kregistry_warmup_started",
        "kregistry_kernel_warmed",
        "kregistry_warmup_finished",
    ]


def test_a_wrong_budget_is_reported_before_anything_is_built(tiny_manifest: Manifest) -> None:
    with pytest.raises(InputError, match="memory budget"):
        kregistry.warmup(tiny_manifest, target="h100", memory_budget="2G")


@pytest.mark.stub
def test_an_unknown_model_is_reported_before_anything_is_built(
    tiny_manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_HOME", os.environ.get("CUDA_HOME", ""))
    monkeypatch.setattr("kregistry.warm_up.warm_up.require_device", lambda: None)
    monkeypatch.setattr("kregistry.warm_up.warm_up.prepare_process", lambda *_: None)
    with pytest.raises(UnknownNameError, match="unknown model 'tiiny'"):
        kregistry.warmup(tiny_manifest, "tiiny", target="h100")


def test_a_cache_directory_is_set_before_deep_gemm_is_imported(
    toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DG_JIT_CACHE_DIR", "/elsewhere")
    monkeypatch.setenv("CUDA_HOME", "/cuda")
    monkeypatch.delitem(sys.modules, "deep_gemm", raising=False)
    prepare_process(toolchain, tmp_path)
    assert os.environ["DG_JIT_CACHE_DIR"] == str(tmp_path)
    assert os.environ["CUDA_HOME"] == "/cuda"


def test_the_compiler_is_named_where_nobody_else_does(toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_HOME", "")
    del os.environ["CUDA_HOME"]
    prepare_process(toolchain, None)
    assert os.environ["CUDA_HOME"] == str(toolchain.cuda.home)
    assert "DG_JIT_CACHE_DIR" not in os.environ


def test_another_cache_directory_after_deep_gemm_was_imported_is_refused(
    toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DG_JIT_CACHE_DIR", "/a")
    monkeypatch.setenv("CUDA_HOME", str(toolchain.cuda.home))
    monkeypatch.setitem(sys.modules, "deep_gemm", SimpleNamespace())
    with pytest.raises(MissingRequirement) as caught:
        prepare_process(toolchain, "/b")
    assert str(caught.value) == (
        "deep_gemm is already imported with DG_JIT_CACHE_DIR=/a, so it will not look in /b\n"
        "hint: warm up before deep_gemm is imported, or leave cache_dir out"
    )
    prepare_process(toolchain, "/a")


def test_observers_know_of_a_warm_up_before_it_returns(warm_run: dict[str, Any]) -> None:
    assert warm_run["told"] == [[True, "tiny", 1]]
    assert warm_run["covered"] == [True, False]
    assert warm_run["counts_loads"]
