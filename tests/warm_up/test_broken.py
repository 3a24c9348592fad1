"""Warm-up where DeepGEMM chooses kernels that do not compile: real ones, of DeepGEMM 0.1.4 on SM90 (m up to 32)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

#: Three GEMM kernels, two of them broken, and one for scale factors, which all values need.
WGRAD = """
version: 1
target: h100
models:
  tiny:
    kernels:
      - {type: fp8_gemm_nt_wgrad, label: dw, shape: {n: 64, k: 256}, m: {stop: 64}}
"""


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    path = tmp_path / "kernels.yaml"
    path.write_text(WGRAD)
    return path


def crashes(report: dict[str, Any]) -> list[list[list[int]]]:
    return sorted(crash["spans"] for each in report["broken"] for crash in each["crashes"])


@pytest.mark.slow
def test_values_that_would_crash_are_left_out_and_reported(warm_up: Any, tmp_path: Path) -> None:
    first = warm_up("--allow-broken")
    assert (first["kernels"], first["loaded"], first["launches"]) == (4, 2, 1)
    assert first["failed"] == first["compiled"] == first["left_on_disk"] == []
    assert crashes(first) == [[[1, 16]], [[17, 32]]]
    assert 'error: static assertion failed with "Invalid block size' in first["broken"][0]["output"]
    assert [each["id"] for each in first["build"]["failed"]] == [each["id"] for each in first["broken"]]

    second = warm_up("--allow-broken")
    assert not second["built"]
    assert (second["loaded"], crashes(second)) == (2, crashes(first))

    refused = warm_up()
    assert (refused["error"], refused["exit_code"]) == ("2 of 4 kernels do not compile", 5)

    shutil.rmtree(next((tmp_path / "store" / "broken").iterdir()))
    again = warm_up("--allow-broken")
    assert again["built"]
    assert sorted(each["known"] for each in again["build"]["failed"]) == [False, True]
