"""pip installs a wheel with kernels in an environment without torch, and kregistry finds them there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result
from environments import DEEP_GEMM_EXTRA, Environment

from kregistry.compile import BuildReport
from kregistry.plan.lock import write_lock
from kregistry.store import Store


@pytest.mark.stub
@pytest.mark.nvcc
def test_pip_installs_kernels(
    kregistry: Callable[..., Result], tiny_build: BuildReport, session_store: Store, clone: Path, tmp_path: Path
) -> None:
    lock, wheel = tmp_path / "kernels.lock", tmp_path / "tiny_h100-1.0-py3-none-any.whl"
    write_lock(tiny_build.plan, lock)
    assert kregistry("bundle", "--lock", lock, "--store", session_store.directory, "--wheel", wheel).code == 0
    environment = Environment(tmp_path / "env", without=DEEP_GEMM_EXTRA)
    environment.install("-e", clone)
    environment.install(wheel)
    asked = environment.run("kregistry", "lookup", "wheel:", "--lock", lock, cwd=tmp_path)
    assert "1 of 1 kernels are in wheel:tiny_h100" in asked
    pulled = environment.run("kregistry", "pull", "wheel:", "--lock", lock, "--store", tmp_path / "b", cwd=tmp_path)
    assert "1 of 1 kernels are in" in pulled
