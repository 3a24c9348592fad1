"""The builder: takes kernels one by one, while the plan is still being made, and makes them ready in parallel."""

from __future__ import annotations

import heapq
import itertools
import signal
import threading
import time
from pathlib import Path

from kregistry.build.compiler import Compiler
from kregistry.build.costs import Costs
from kregistry.build.report import CompiledKernel
from kregistry.cache.broken import BrokenKernels, FailedKernel
from kregistry.cache.claims import Claims
from kregistry.cache.jit_cache import Filled, JitCache
from kregistry.cache.store import DamagedEntry, Store, StoredKernel
from kregistry.kernel import Kernel
from kregistry.registry import Registry

#: How long to leave a kernel alone that another builder is compiling.
_RETRY_SECONDS = 0.25
#: How long to gather kernels after the first one: those that take longest are known by then, and start first.
_GATHER_SECONDS = 0.3


class Builder:
    """Compiles what the store lacks, longest first, and fills the JIT cache.

    Use as a context manager: :meth:`add` kernels at any time, then :meth:`finish`. Leaving the block early ends the
    running compilers; everything that was published stays.
    """

    def __init__(self, registry: Registry, store: Store, jit_cache: JitCache, nvcc: Path, jobs: int) -> None:
        self.registry = registry
        self.store = store
        self.jit_cache = jit_cache
        self.compiler = Compiler(nvcc)
        self.compiler_name = str(nvcc.name)
        self.costs = Costs(store.directory)
        self.compiled: list[CompiledKernel] = []
        self.failed: list[FailedKernel] = []
        self.found = 0
        self.filled = 0
        self.compiling_since = self.compiling_until = 0.0
        self.jobs = jobs
        self._broken = BrokenKernels(store.directory)
        self._claims = Claims(store.directory / "claims")
        self._queue: list[tuple[float, int, Kernel]] = []
        self._waiting: list[tuple[float, int, Kernel]] = []
        self._order = itertools.count()
        self._condition = threading.Condition()
        self._pending = 0
        self._opens_at = 0.0
        self._complete = False
        self._error: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Builder:
        self.store.open()
        self._claims.__enter__()
        for _ in range(self.jobs):
            thread = threading.Thread(target=self._work, daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._condition:
            if kind is not None:
                self._error = self._error or InterruptedError()
            self._complete = True
            self._condition.notify_all()
        if kind is not None:
            self.compiler.stop()
        for thread in self._threads:
            thread.join()
        self._claims.__exit__()

    def add(self, kernel: Kernel) -> None:
        """Make a kernel ready: at once if the store knows it, else by compiling it when its turn comes."""
        if self._use_known(kernel):
            return
        with self._condition:
            self._pending += 1
            self._opens_at = self._opens_at or time.monotonic() + _GATHER_SECONDS
            self._enqueue(kernel)
            self._condition.notify()

    def finish(self) -> None:
        """Wait until every kernel that was added is ready or has failed.

        Raises:
            StorageError: the store or the JIT cache cannot be written.
        """
        with self._condition:
            while self._pending and self._error is None:
                self._condition.wait(0.5)
        if self._error is not None:
            raise self._error
        self.costs.learn(self.compiled)

    def _enqueue(self, kernel: Kernel) -> None:
        heapq.heappush(self._queue, (-self.costs.estimate(kernel.name), next(self._order), kernel))

    def _work(self) -> None:
        # An interrupt is for the main thread; compilers inherit the mask, and are ended by stop() instead.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        while (kernel := self._next()) is not None:
            try:
                with self._claims.claim(kernel.key) as ours:
                    done = self._use_known(kernel)
                    if not done and ours:
                        self._compile(kernel)
                        done = True
                with self._condition:
                    if done:
                        self._pending -= 1
                    else:
                        due = time.monotonic() + _RETRY_SECONDS
                        heapq.heappush(self._waiting, (due, next(self._order), kernel))
                    self._condition.notify_all()
            except BaseException as error:  # handed to the thread that waits in finish()
                with self._condition:
                    self._error = self._error or error
                    self._condition.notify_all()

    def _next(self) -> Kernel | None:
        """The next kernel to work on; ``None`` when there will be none."""
        with self._condition:
            while True:
                if self._error is not None:
                    return None
                now = time.monotonic()
                if self._queue and now < self._opens_at:
                    self._condition.wait(self._opens_at - now)
                    continue
                if self._queue:
                    return heapq.heappop(self._queue)[2]
                if self._waiting and self._waiting[0][0] <= now:
                    return heapq.heappop(self._waiting)[2]
                if self._complete and not self._pending:
                    return None
                self._condition.wait(self._waiting[0][0] - now if self._waiting else None)

    def _use_known(self, kernel: Kernel) -> bool:
        """Whether the store has the kernel, or the verdict that it does not compile."""
        if self._use_stored(kernel):
            return True
        failed = self._broken.get(kernel)
        if failed is not None:
            self._fail(failed)
        return failed is not None

    def _fail(self, failed: FailedKernel) -> None:
        with self._condition:
            self.failed.append(failed)
        self.registry.hook.kregistry_kernel_failed(kernel=failed.kernel, failed=failed)

    def _use_stored(self, kernel: Kernel) -> bool:
        try:
            stored = self.store.get(kernel.key)
        except DamagedEntry:
            self.store.discard(kernel.key)
            return False
        if stored is None:
            return False
        self._fill(kernel, stored)
        with self._condition:
            self.found += 1
        self.registry.hook.kregistry_kernel_found(kernel=kernel)
        return True

    def _compile(self, kernel: Kernel) -> None:
        self.registry.hook.kregistry_compile_started(kernel=kernel)
        self.compiling_since = self.compiling_since or time.perf_counter()
        result = self.compiler.compile(kernel, self.store.scratch("compile"))
        self.compiling_until = time.perf_counter()
        if self.compiler.stopped:
            return  # cut off, which says nothing about the kernel
        if result.failure:
            failed = FailedKernel(kernel, result.command, result.failure)
            self._broken.put(failed)
            self._fail(failed)
            return
        stored = self.store.put(kernel, result.cubin, self.compiler_name, result.seconds)
        self._fill(kernel, stored)
        compiled = CompiledKernel(kernel, result.seconds, stored.nbytes)
        self.compiled.append(compiled)
        self.registry.hook.kregistry_kernel_compiled(kernel=kernel, compiled=compiled)

    def _fill(self, kernel: Kernel, stored: StoredKernel) -> None:
        if self.jit_cache.fill(kernel, stored) is not Filled.PRESENT:
            with self._condition:
                self.filled += 1
