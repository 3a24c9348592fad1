"""A whole warm-up in a process of its own. The GPU is the stub; plan, store, JIT cache and DeepGEMM are real."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import kregistry
from kregistry.compile import BuildReport
from kregistry.errors import InputError, UnknownNameError
from kregistry.manifest import Manifest


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
    monkeypatch.setattr("kregistry.warm_up.prepare.prepare_process", lambda *_: None)
    with pytest.raises(UnknownNameError, match="unknown model 'tiiny'"):
        kregistry.warmup(tiny_manifest, "tiiny", target="h100")


def test_observers_know_of_a_warm_up_before_it_returns(warm_run: dict[str, Any]) -> None:
    assert warm_run["told"] == [[True, "tiny", 1]]
    assert warm_run["covered"] == [True, False]
    assert warm_run["counts_loads"]
