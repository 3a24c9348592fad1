"""Kernels go to a cluster in groups; whatever a cluster does to them, each is made once and is the right one."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from fake_cluster import FakeExecutor, Worker, fake_cluster
from memory_tier import MemoryTier
from small_kernels import small_kernel

from kregistry.compile.cluster import Cluster, Workers
from kregistry.compile.pipeline import Pipeline
from kregistry.compile.stages import distribute
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.event_bus import EventBus
from kregistry.kernel import Kernel
from kregistry.remote.chain import Chain
from kregistry.store import Store
from kregistry.store.failures import BrokenKernels

pytestmark = pytest.mark.nvcc
KERNELS = [small_kernel("a", f"// {number}\n") for number in range(3)]


@pytest.fixture
def copying(tmp_path: Path, cubin: bytes) -> Path:
    """The compiler of this machine: it gives a real cubin at once."""
    (tmp_path / "real.cubin").write_bytes(cubin)
    path = tmp_path / "copying-nvcc"
    path.write_text(f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\ncp {tmp_path}/real.cubin "$2"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def worker(tmp_path: Path, cubin: bytes) -> Worker:
    return Worker(tmp_path / "worker", KERNELS, cubin)


@pytest.fixture
def build(store: Store, tmp_path: Path) -> Callable[..., Pipeline]:
    def run(cluster: Cluster, nvcc: Path = Path("/no/nvcc"), remote: Chain | None = None) -> Pipeline:
        jit = JitCache(tmp_path / "jit")
        with Pipeline(EventBus(), store, jit, nvcc, 2, None, remote, cluster) as pipeline:
            for kernel in KERNELS:
                pipeline.add(kernel)
            pipeline.finish()
        assert list((store.directory / "claims").iterdir()) == []
        return pipeline

    return run


def sent(cluster: Cluster) -> list[list[str]]:
    assert isinstance(cluster.workers.executor, FakeExecutor)
    return cluster.workers.executor.sent


def test_a_group_is_one_task_and_its_kernels_are_published(
    build: Callable[..., Pipeline], worker: Worker, store: Store, tmp_path: Path, cubin: bytes
) -> None:
    cluster, tier = fake_cluster(worker), MemoryTier()
    record = build(cluster, remote=Chain([tier])).record
    assert [sorted(keys) for keys in sent(cluster)] == [sorted(each.key for each in KERNELS)]
    assert len(record.compiled) == 3 and record.filled == 3 and len(tier.objects) == 3
    stored = store.get(KERNELS[0].key)
    assert stored is not None and stored.cubin.read_bytes() == cubin
    assert (cluster.use.tasks, cluster.use.kernels, cluster.use.lost, cluster.use.here) == (1, 3, 0, 0)
    assert [(task.stage, task.worker, len(task.kernels)) for task in record.tasks] == [("cluster", "node-1", 3)]
    again = build(fake_cluster(worker)).record
    assert (again.compiled, again.found) == ([], 3)


def test_a_group_whose_workers_die_is_sent_again_kernel_by_kernel(
    build: Callable[..., Pipeline], worker: Worker, copying: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the one that kills its worker each time, this machine makes the kernel; the others lose nothing."""
    deadly = KERNELS[1].key

    def answer(keys: list[str]) -> dict[str, Any]:
        if deadly in keys:
            raise RuntimeError("KilledWorker: node-1")
        return worker(keys)

    cluster = fake_cluster(answer)
    assert len(build(cluster, copying).record.compiled) == 3
    assert (cluster.use.kernels, cluster.use.lost, cluster.use.here) == (2, 2, 1)
    assert sorted(map(len, sent(cluster))) == [1, 1, 1, 3]
    assert "a task of the cluster was lost, and is done again: RuntimeError: KilledWorker" in caplog.text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda reply: reply["made"].clear(),
        lambda reply: reply.update(made={key: content[:-1] + b"x" for key, content in reply["made"].items()}),
        lambda reply: reply.update(made=dict.fromkeys(reply["made"], next(iter(reply["made"].values()))[:-9])),
        lambda reply: reply.update(made={}, refused="nvcc 12.9 in place of 13.0"),
        lambda reply: reply.update(made=None),
        lambda reply: reply.clear(),
        lambda reply: (_ for _ in ()).throw(asyncio.CancelledError()),
        lambda reply: (_ for _ in ()).throw(SystemExit(3)),
    ],
)
def test_whatever_a_worker_sends_instead_is_made_here(
    build: Callable[..., Pipeline],
    worker: Worker,
    store: Store,
    copying: Path,
    cubin: bytes,
    spoil: Callable[[dict[str, Any]], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def answer(keys: list[str]) -> dict[str, Any]:
        reply = worker(keys)
        spoil(reply)
        return reply

    cluster = fake_cluster(answer)
    record = build(cluster, copying).record
    assert len(record.compiled) == 3 and record.failed == []
    assert (cluster.use.kernels, cluster.use.here, cluster.use.off) == (0, 3, True)
    assert [each for each in caplog.messages if "was lost" in each][1:] == []
    for kernel in KERNELS:
        stored = store.get(kernel.key)
        assert stored is not None and stored.cubin.read_bytes() == cubin


def test_a_right_kernel_under_another_key_is_not_used(
    build: Callable[..., Pipeline], worker: Worker, copying: Path
) -> None:
    def answer(keys: list[str]) -> dict[str, Any]:
        reply = worker(keys)
        reply["made"] = dict(zip(reply["made"], reversed(list(reply["made"].values()))))
        return reply

    cluster = fake_cluster(answer)
    assert len(build(cluster, copying).record.compiled) == 3
    assert cluster.use.lost > 0


def test_a_kernel_that_does_not_compile_is_a_result(
    build: Callable[..., Pipeline], worker: Worker, store: Store
) -> None:
    broken: Kernel = KERNELS[2]

    def answer(keys: list[str]) -> dict[str, Any]:
        reply = worker(keys)
        del reply["made"][broken.key]
        return {**reply, "failed": {broken.key: ("nvcc kernel.cu", "kernel.cu(3): error: odd")}}

    cluster = fake_cluster(answer)
    record = build(cluster).record
    assert (len(record.compiled), [each.kernel for each in record.failed]) == (2, [broken])
    assert BrokenKernels(store.directory).holds(broken.key)
    assert (cluster.use.kernels, cluster.use.lost) == (3, 0)


class Refusing(Executor):
    def submit(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("cannot schedule new futures after shutdown")


def test_a_cluster_that_takes_nothing(
    build: Callable[..., Pipeline], copying: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    cluster = evolve(fake_cluster(lambda keys: {}), workers=Workers(Refusing(), lambda content: {}))
    assert len(build(cluster, copying).record.compiled) == 3
    assert cluster.use.summary() == (
        "cluster: 0 tasks, 0 kernels, 3 lost, 3 compiled here; nothing more was sent after: RuntimeError: cannot "
        "schedule new futures after shutdown"
    )


def test_a_worker_with_the_store_of_the_build_has_compiled_all_the_same(
    build: Callable[..., Pipeline], worker: Worker, store: Store, cubin: bytes
) -> None:
    """And the remotes get it."""

    def answer(keys: list[str]) -> dict[str, Any]:
        for kernel in KERNELS:
            store.put(kernel, cubin, "nvcc", 1.0)
        return worker(keys)

    tier = MemoryTier()
    record = build(fake_cluster(answer), remote=Chain([tier])).record
    assert (len(record.compiled), record.found, len(tier.objects)) == (3, 0, 3)


def test_what_another_builder_makes_is_used_although_the_cluster_cannot(
    build: Callable[..., Pipeline], worker: Worker, store: Store, cubin: bytes
) -> None:
    def answer(keys: list[str]) -> dict[str, Any]:
        store.put(KERNELS[0], cubin, "nvcc", 1.0)
        return {**worker(keys), "failed": {KERNELS[0].key: ("nvcc", "kernel.cu(3): error: odd")}}

    record = build(fake_cluster(answer)).record
    assert (len(record.compiled), record.found, record.failed) == (2, 1, [])


class Late(FakeExecutor):
    """Answers once something has happened."""

    def __init__(self, answer: Callable[[list[str]], Any], happened: Callable[[], bool]) -> None:
        super().__init__(answer)
        self.happened = happened

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        ready, late = super().submit(fn, *args, **kwargs), Future[Any]()

        def answer() -> None:
            while not self.happened():
                threading.Event().wait(0.01)
            late.set_result(ready.result())

        threading.Thread(target=answer, daemon=True).start()
        return late


def test_a_cluster_of_which_nothing_is_heard_is_waited_for_and_a_line_says_so(
    build: Callable[..., Pipeline], worker: Worker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have a long queue, or no workers any more; that nothing stands still is known by what it was sent."""
    monkeypatch.setattr(distribute, "_SILENCE_SECONDS", 0.1)
    executor = Late(worker, lambda: "waiting for 1 tasks of the cluster; nothing has come back for" in caplog.text)
    cluster = evolve(fake_cluster(worker), workers=Workers(executor, lambda content: {}))
    assert len(build(cluster).record.compiled) == 3
    assert cluster.use.lost == 0
