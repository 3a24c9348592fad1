"""Tests that need a CUDA device; skipped, with this reason, where there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

MANIFEST = """\
version: 1
target: detect
models:
  small:
    kernels:
      - {type: fp8_gemm_nt, label: narrow, shape: {n: 64, k: 512}, m: {stop: 64}}
      - {type: fp8_gemm_nt, label: wide, shape: {n: 4096, k: 7168}, m: {stop: 64}}
      - {type: tf32_hc_prenorm_gemm, label: mixing, shape: {n: 24, k: 1024, num_splits: [none, 2]}, m: {stop: 64}}
"""


@pytest.fixture(autouse=True, scope="session")
def device() -> None:
    """Skip where there is none; torch is not imported only to collect these tests."""
    if not pytest.importorskip("torch").cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture
def environment_guard() -> None:
    """Off here: a warm-up prepares the environment of its process for DeepGEMM, on purpose."""


@pytest.fixture
def isolation() -> None:
    """Off here: DeepGEMM reads its directories once in a process, when it is imported."""


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store, cache and manifest of all tests here: DeepGEMM reads its cache directory once in a process."""
    directory = tmp_path_factory.mktemp("gpu")
    (directory / "kernels.yaml").write_text(MANIFEST)
    os.environ["DG_JIT_CACHE_DIR"] = str(directory / "cache")
    return directory
