"""What a worker of a cluster makes of a lock file, and that a build takes it."""

from __future__ import annotations

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kregistry.compile import BuildReport
from kregistry.compile.build_lock import build_lock
from kregistry.compile.cluster import Cluster
from kregistry.compile.locked_kernels import installed_headers
from kregistry.compile.on_worker import compile_lock, workers
from kregistry.compile.plan_and_build import build_kernels
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.kernel import Kernel
from kregistry.manifest import Manifest
from kregistry.plan.lock import write_lock
from kregistry.registry import Registry
from kregistry.store import Store, packed
from kregistry.toolchain import Toolchain

pytestmark = [pytest.mark.stub, pytest.mark.nvcc]


@pytest.fixture
def sent(tiny_build: BuildReport, toolchain: Toolchain) -> bytes:
    """What a build sends to a worker."""
    plan = tiny_build.plan
    with ThreadPoolExecutor(1) as executor:
        cluster = Cluster(workers(executor), plan.target, plan.versions, toolchain.cuda.compiler)
        return cluster.lock_of(plan.kernels.values())


def test_a_worker_sends_its_kernels_back(
    sent: bytes, session_store: Store, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KREGISTRY_STORE", str(session_store.directory))
    reply = compile_lock(sent)
    assert (list(reply["made"]), reply["failed"], reply["refused"]) == ([kernel.key], {}, "")
    assert packed.unpack(kernel.key, reply["made"][kernel.key]).key == kernel.key


def test_a_worker_without_the_headers_says_so(
    sent: bytes, tmp_path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    (headers,) = installed_headers()
    monkeypatch.setenv("KREGISTRY_HEADERS", str(tmp_path))
    reply = compile_lock(sent)
    assert (reply["made"] == {} and "needs DeepGEMM's headers" in reply["refused"]) or "is not the" in reply["refused"]
    monkeypatch.setenv("KREGISTRY_HEADERS", f"{tmp_path}:{headers}")
    monkeypatch.setenv("KREGISTRY_STORE", "/proc/nowhere")
    assert "/proc/nowhere" in compile_lock(sent)["refused"]


def test_the_options_of_a_build_reach_its_workers(sent: bytes) -> None:
    with ThreadPoolExecutor(1) as executor:
        task = workers(executor, shared_front_end=False, paranoid=True).task
        assert "none are shared" in pickle.loads(pickle.dumps(task))(sent)["refused"]


def test_what_is_no_lock_file_is_refused_and_no_exception() -> None:
    assert "not JSON" in compile_lock(b"x")["refused"]


def test_a_lock_file_is_built_by_an_executor(
    tiny_build: BuildReport,
    toolchain: Toolchain,
    session_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = tmp_path / "kernels.lock"
    write_lock(tiny_build.plan, lock, toolchain.cuda.compiler)
    monkeypatch.setenv("KREGISTRY_STORE", str(session_store.directory))  # of the worker
    with ThreadPoolExecutor(1) as executor:
        report = build_lock(
            lock, Registry(load_entry_points=False).events, store=Store(tmp_path / "driver"), workers=workers(executor)
        )
    assert (report.ready, len(report.compiled), report.cluster and report.cluster.kernels) == (1, 1, 1)
    assert "cluster" in report.to_json()


def test_a_planned_build_by_an_executor_fills_the_jit_cache(
    tiny_manifest: Manifest,
    registry: Registry,
    toolchain: Toolchain,
    session_store: Store,
    tiny_build: BuildReport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(session_store.directory / "plans", tmp_path / "driver" / "plans")
    monkeypatch.setenv("KREGISTRY_STORE", str(session_store.directory))  # of the worker
    with ThreadPoolExecutor(1) as executor:
        report = build_kernels(
            tiny_manifest,
            registry,
            store=Store(tmp_path / "driver"),
            jit_cache=JitCache(tmp_path / "jit"),
            toolchain=toolchain,
            executor=executor,
        )
    assert (report.ready, len(report.compiled), report.filled) == (1, 1, 1)
    assert report.cluster is not None and report.cluster.kernels == 1
