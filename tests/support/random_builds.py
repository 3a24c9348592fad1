"""Whole builds of chance, with all that may happen beside them: other builders, a remote, a cluster, calls that wait,
an interrupt. A build must end, and each of its kernels must end once.

    python tests/support/random_builds.py CUBIN FIRST LAST     the builds of these seeds, for a long campaign
"""

from __future__ import annotations

import faulthandler
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import evolve
from fake_cluster import FakeExecutor, fake_cluster
from memory_tier import MemoryTier
from random_compilers import World, compilers

from kregistry.compile.cluster import Cluster
from kregistry.compile.pipeline import Pipeline
from kregistry.compile.shared.sharing_options import SharingOptions
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.errors import StorageError
from kregistry.event_bus import EventBus
from kregistry.events import FailedKernel
from kregistry.kernel import Kernel
from kregistry.remote.chain import Chain, object_name
from kregistry.store import Store, packed
from kregistry.store.claims import Claims
from kregistry.store.failures import BrokenKernels

#: A build of some milliseconds that takes this long hangs, in seconds.
LIMIT = 60.0


class _Interrupt(Exception):
    """In place of Ctrl-C."""


class RandomBuild:
    """The build of a seed, in a directory of its own."""

    def __init__(self, seed: int, directory: Path, cubin: bytes) -> None:
        self.seed = seed
        self.world = world = World(seed, cubin)
        self.chance = chance = world.chance
        self.store = Store(directory / "store")
        self.store.open()
        self.jit = JitCache(directory / "jit")
        self.workers = chance.randint(1, 4)
        self.options = SharingOptions(chance.random() < 0.9, False)
        self.options = evolve(self.options, paranoid=self.options.shared and chance.random() < 0.2)
        self.early = world.some(0.5) if chance.random() < 0.5 else []
        self.added = world.some(chance.choice([0.5, 1.0]))
        chance.shuffle(self.added)
        self.expected = world.some(0.3)
        self.interrupted_after = chance.random() * 0.02 if chance.random() < 0.15 else None
        self.held = world.some(0.2) if chance.random() < 0.4 else []
        self.urgent = [(chance.random() * 0.01, each.key) for each in world.some(0.3)]
        self.tier = MemoryTier(broken=chance.random() < 0.2) if chance.random() < 0.3 else None
        self.answers = chance.random() < 0.25
        #: Whether it came to its end: it was not interrupted, and the disk was not full.
        self.ended = False

    def run(self) -> None:
        """Run it, and check what has come of it."""
        failed: list[BaseException] = []

        def guarded() -> None:
            try:
                self._run()
            except BaseException as error:
                failed.append(error)

        before = set(threading.enumerate())  # other tests may have left threads
        thread = threading.Thread(target=guarded, name="random build", daemon=True)
        thread.start()
        thread.join(LIMIT)
        if thread.is_alive():
            faulthandler.dump_traceback()
            raise AssertionError(f"the build of seed {self.seed} hangs")
        if failed:
            raise AssertionError(f"the build of seed {self.seed} has failed: {failed[0]!r}") from failed[0]
        new = set(threading.enumerate()) - before
        left = [each.name for each in new if each.name.startswith("worker ")]
        assert not left, f"the build of seed {self.seed} has left {left}"

    def _run(self) -> None:
        chain = Chain(() if self.tier is None else (self.tier,))
        if self.tier is not None:
            self._fill(self.tier)
        with compilers(self.world), self._cluster() as cluster, self._beside() as beside:
            pipeline = Pipeline(
                EventBus(), self.store, self.jit, Path("nvcc"), self.workers, self.options, chain, cluster
            )
            full = () if self.world.room is None else (StorageError,)
            with suppress(_Interrupt, *full), pipeline:
                for urgent, key in self.urgent:
                    beside.submit(lambda after, key: (time.sleep(after), pipeline.first([key])), urgent, key)
                if self.interrupted_after is not None:
                    beside.submit(self._interrupt, pipeline, self.interrupted_after)
                self._build(pipeline)
        assert self.ended or self.interrupted_after is not None or full
        self._check(pipeline)

    def _interrupt(self, pipeline: Pipeline, seconds: float) -> None:
        """Where the main thread waits; it may have ended before."""
        time.sleep(seconds)
        pipeline._schedule.fail(_Interrupt())

    def _build(self, pipeline: Pipeline) -> None:
        pipeline.add_early(evolve(each, cache_entry=Path(), files={}) for each in self.early)
        pipeline.expect(self.expected)
        for kernel in self.added:
            self.world.pause()
            if self.interrupted_after is not None and self.chance.random() < 0.1:
                raise _Interrupt
            pipeline.add(kernel)
        pipeline.finish()
        self.ended = True

    def _check(self, pipeline: Pipeline) -> None:
        claims = (self.store.directory / "claims").iterdir()
        assert [each.name for each in claims if json.loads(each.read_text())["pid"] == os.getpid()] == []
        record = pipeline.record
        ends = Counter([each.kernel.key for each in (*record.compiled, *record.failed)] + record.found_keys)
        added = {each.key for each in self.added}
        twice = [key for key, count in ends.items() if count > 1]
        assert not twice, twice
        assert ends.keys() <= {*added, *(each.key for each in self.early)}
        for key in ends:
            if key not in {each.kernel.key for each in record.failed}:
                stored = self.store.get(key)
                assert stored is not None and stored.cubin.read_bytes() == self.world.cubin
        if self.ended:
            assert ends.keys() >= added
            for each in self.added:
                stored = self.store.get(each.key)
                assert stored is None or self.jit.fault(each, stored) is None

    # ---- what happens beside it --------------------------------------------------------------------------------

    @contextmanager
    def _beside(self) -> Iterator[ThreadPoolExecutor]:
        """Other builders that hold claims and give them up, with a result or without; some have died."""
        with ThreadPoolExecutor(8) as executor, Claims(self.store.directory / "claims") as claims:
            for each in self.held:
                if self.chance.random() < 0.2:
                    owner = {"host": socket.gethostname(), "pid": 1 << 30}
                    (self.store.directory / "claims" / each.key).write_text(json.dumps(owner))
                    continue
                assert claims.acquire(each.key)
                leaves = self.chance.choice(["nothing", "its result", "a verdict"])
                executor.submit(self._end_other, claims, each, leaves, self.chance.random() * 0.02)
            yield executor

    def _end_other(self, claims: Claims, kernel: Kernel, leaves: str, seconds: float) -> None:
        time.sleep(seconds)
        if leaves == "its result":
            self.store.put(kernel, self.world.cubin, "nvcc", 1.0)
        elif leaves == "a verdict":
            BrokenKernels(self.store.directory).put(FailedKernel(kernel, "nvcc", "kernel.cu(3): error: too large"))
        claims.release(kernel.key)

    def _fill(self, tier: MemoryTier) -> None:
        with tempfile.TemporaryDirectory() as directory:
            store = Store(Path(directory))
            store.open()
            for each in self.world.some(0.3):
                store.put(each, self.world.cubin, "nvcc", 1.0)
                content = packed.pack(store, each.key)
                assert content is not None
                tier.objects[object_name(each.key)] = content

    @contextmanager
    def _cluster(self) -> Iterator[Cluster | None]:
        if not self.answers:
            yield None
            return
        with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(3) as executor:
            store = Store(Path(directory))
            store.open()

            def answer(keys: list[str]) -> dict[str, Any]:
                self.world.pause()
                if self.chance.random() < 0.2:
                    raise RuntimeError("KilledWorker")
                made, failed = {}, {}
                for key in keys:
                    result = self.world.result(key)
                    if result.failure:
                        failed[key] = ("nvcc", result.failure)
                    elif self.chance.random() < 0.9:
                        store.put(self.world.kernels[key], result.cubin, "nvcc", 1.0)
                        made[key] = packed.pack(store, key)
                return {"host": "node-1", "made": made, "failed": failed, "refused": ""}

            cluster = fake_cluster(answer)
            yield evolve(cluster, workers=evolve(cluster.workers, executor=_Later(answer, executor)))


class _Later(FakeExecutor):
    """Answers in threads of its own."""

    def __init__(self, answer: Callable[[list[str]], Any], executor: ThreadPoolExecutor) -> None:
        super().__init__(answer)
        self._executor = executor

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._executor.submit(self.answer, json.loads(args[0]))


def main(cubin: Path, first: int, last: int) -> None:
    """Builds of many seeds; each that fails is said."""
    began = time.monotonic()
    for seed in range(first, last):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
            try:
                RandomBuild(seed, Path(directory), cubin.read_bytes()).run()
            except AssertionError as error:
                print(f"{error}: {error.__cause__!r}", flush=True)
                if "hangs" in str(error):
                    os._exit(1)
    print(f"{last - first} builds in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
