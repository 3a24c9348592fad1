"""Real clusters on the loopback interface build a small lock file into one remote, and lose a worker meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Result

from kregistry.manifest.document import parse_document
from kregistry.manifest.reader import read_manifest
from kregistry.plan.lock import write_lock
from kregistry.plan.planner import make_plan
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.toolchain import Toolchain

pytestmark = [pytest.mark.stub, pytest.mark.nvcc]
MANIFEST = """
version: 1
target: h100
models:
  small:
    kernels:
      - {type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 256}, m: {stop: 4}}
      - {type: fp8_gemm_nt, shape: {n: 256, k: 512}, m: {stop: 16}}
"""
ISOLATED = ("unshare", "-n", "--pid", "--fork", "--kill-child", "--mount-proc")
SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture
def lock(registry: Registry, toolchain: Toolchain, tmp_path: Path) -> Path:
    path = tmp_path / "kernels.lock"
    plan = make_plan(read_manifest(parse_document(MANIFEST, "k.yaml"), registry), registry, toolchain=toolchain)
    write_lock(plan, path, toolchain.cuda.compiler)
    return path


def run(script: str, place: Path, lock: Path, seconds: float) -> dict[str, Any]:
    """The report of a build on a cluster, which a script starts."""
    command = [*ISOLATED, SUPPORT / script, place, lock, Path(sys.executable).parent]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    logs = "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted((place / "log").glob("*")))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    report: dict[str, Any] = json.loads((place / "report.json").read_text())
    return report


def kernels(store: Path) -> set[str]:
    return {path.parent.name for path in store.glob("kernels/*/*/kernel.cubin")}


def check(report: dict[str, Any], place: Path, lock: Path, kregistry: Callable[..., Result]) -> None:
    """Each kernel was made by the cluster, is in the store and in the remote, and is intact."""
    wanted = {each["key"] for each in json.loads(lock.read_text())["kernels"].values()}
    assert (report["ready"], len(report["compiled"]), len(wanted)) == (3, 3, 3)
    assert (report["cluster"]["kernels"], report["cluster"]["here"]) == (3, 0)
    assert all(Store(place / "store").get(key) is not None for key in wanted)
    result = kregistry("lookup", place / "remote", "--lock", lock)
    assert (result.code, result.out.startswith("3 of 3 kernels are in ")) == (0, True)


@pytest.mark.parametrize(
    "script, seconds",
    [
        pytest.param("dask_build.sh", 150, marks=pytest.mark.services),
        pytest.param("ray_build.sh", 280, marks=pytest.mark.ray),
    ],
)
def test_each_kernel_is_built_although_a_worker_is_killed(
    script: str, seconds: float, lock: Path, tmp_path: Path, kregistry: Callable[..., Result]
) -> None:
    place = tmp_path / "place"
    report = run(script, place, lock, seconds)
    check(report, place, lock, kregistry)
    assert report["cluster"]["lost"] == 0
    # The one that lives has made what the other was killed on, and nothing twice that had come back.
    assert kernels(place / "store-1") | kernels(place / "store-2") == kernels(place / "store")


@pytest.mark.services
def test_slurm_builds_each_kernel_although_a_node_goes_down(
    lock: Path, tmp_path: Path, kregistry: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    monkeypatch.setenv("KREGISTRY_STORE", str(place / "worker"))
    check(run("slurm_jobs.sh", place, lock, 200), place, lock, kregistry)
