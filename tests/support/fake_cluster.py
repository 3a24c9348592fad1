"""A cluster without machines: its workers send what a test wants them to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from kregistry.compile.cluster import Cluster, Workers
from kregistry.deep_gemm.compiler import Compiler
from kregistry.kernel import Kernel
from kregistry.store import Store, packed
from kregistry.target import get_target
from kregistry.toolchain import Versions

Answer = Callable[[list[str]], Any]


class FakeExecutor(Executor):
    """Answers each task at once. ``sent`` holds the keys of each task."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.sent: list[list[str]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        keys: list[str] = json.loads(args[0])
        self.sent.append(keys)
        future: Future[Any] = Future()
        try:
            future.set_result(self.answer(keys))
        except BaseException as error:
            future.set_exception(error)
        return future


class FakeCluster(Cluster):
    """Sends the keys of its kernels in place of their sources."""

    def lock_of(self, kernels: Iterable[Kernel]) -> bytes:
        return json.dumps([each.key for each in kernels]).encode()


def fake_cluster(answer: Answer) -> FakeCluster:
    compiler = Compiler(Path("/no/nvcc"), "13.0.88", "a test")
    return FakeCluster(
        Workers(FakeExecutor(answer), lambda content: {}), get_target("h100"), Versions("0", "0", "13.0.88"), compiler
    )


class Worker:
    """Makes a good answer for some kernels."""

    def __init__(self, directory: Path, kernels: Iterable[Kernel], cubin: bytes) -> None:
        self.store = Store(directory)
        self.store.open()
        for kernel in kernels:
            self.store.put(kernel, cubin, "nvcc", 1.0)

    def __call__(self, keys: list[str]) -> dict[str, Any]:
        made = {key: content for key in keys if (content := packed.pack(self.store, key)) is not None}
        return {"host": "node-1", "made": made, "failed": {}, "refused": ""}
