"""The builder: takes kernels one by one, while the plan is still being made, and makes them ready in parallel."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from kregistry.compile.costs import Costs
from kregistry.compile.nvcc import Compilation, Compiler
from kregistry.compile.schedule import Schedule, Work
from kregistry.compile.shared.groups import Groups
from kregistry.compile.shared.sharing import Sharing
from kregistry.compile.shared.sharing_options import FrontEndOptions
from kregistry.compile.shared.sizes import KernelSizes
from kregistry.deep_gemm.jit_cache import Filled, JitCache
from kregistry.event_bus import EventBus
from kregistry.events.compiled import CompiledKernel, FailedKernel
from kregistry.kernel import Kernel
from kregistry.store.claims import Claims
from kregistry.store.failures import BrokenKernels
from kregistry.store.store import DamagedEntry, Store, StoredKernel

#: How long to leave a kernel alone that another builder is compiling.
_RETRY_SECONDS = 0.25


class Builder:
    """Compiles what the store lacks, longest first, and fills the JIT cache.

    Use as a context manager: :meth:`add` kernels at any time, then :meth:`finish`. Leaving the block early ends the
    running compilers; everything that was published stays.
    """

    def __init__(
        self,
        events: EventBus,
        store: Store,
        jit_cache: JitCache,
        nvcc: Path,
        jobs: int,
        front_end: FrontEndOptions | None = None,
    ) -> None:
        self.events = events
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
        groups = Groups(self.costs, KernelSizes(store.directory), jobs)
        options = front_end or FrontEndOptions()
        self.sharing = Sharing(self, events, store, self.compiler, groups, options)
        self.schedule = Schedule(jobs, self.sharing)
        self._broken = BrokenKernels(store.directory)
        self._claims = Claims(store.directory / "claims")
        self._reserved: set[str] = set()
        self._pending: set[str] = set()
        self._started: set[str] = set()

    def __enter__(self) -> Builder:
        self.store.open()
        self._claims.__enter__()
        self.schedule.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.schedule.fail(InterruptedError())
            self.compiler.stop()
        self.schedule.close()
        self.sharing.close()
        self._claims.__exit__()

    def add(self, kernel: Kernel) -> None:
        """Make a kernel ready: at once if the store knows it, else by compiling it when its turn comes."""
        if self._use_known(kernel):
            return
        with self.schedule.condition:
            self._pending.add(kernel.key)
        if not self.sharing.offer(kernel):
            self.schedule.put(self.costs.estimate(kernel.name), partial(self._compile_alone, kernel))

    def finish(self) -> None:
        """Wait until every kernel that was added is ready or has failed.

        Raises:
            StorageError: the store or the JIT cache cannot be written.
        """
        self.sharing.complete()
        with self.schedule.condition:
            while self._pending and self.schedule.error is None:
                self.schedule.condition.wait(0.5)
        if self.schedule.error is not None:
            raise self.schedule.error
        self.sharing.learn(self.compiled)

    # ---- what a kernel goes through --------------------------------------------------------------------------

    def reserve(self, kernel: Kernel, again: Work) -> bool:
        """Whether this builder is to compile the kernel: nobody else does, and the store still lacks it.

        A kernel that another builder is compiling is left alone for a moment, and then ``again`` is called.
        """
        with self.schedule.condition:
            if kernel.key not in self._pending:
                return False
        if kernel.key in self._reserved:
            return True
        ours = self._claims.acquire(kernel.key)
        if ours:
            self._reserved.add(kernel.key)
        if self._use_known(kernel):
            self._done(kernel)
            return False
        if not ours:
            self.schedule.put(0.0, again, delay=_RETRY_SECONDS)
        return ours

    def compile(self, kernel: Kernel) -> Compilation | None:
        """Let nvcc compile a kernel alone; ``None`` if it was cut off, which says nothing about the kernel."""
        self.started(kernel)
        self.compiling()
        result = self.compiler.compile(kernel, self.store.scratch("compile"))
        self.compiling()
        return None if self.compiler.stopped else result

    def started(self, kernel: Kernel) -> None:
        """A compiler starts on a kernel; told once, also if the kernel takes several."""
        with self.schedule.condition:
            if kernel.key in self._started:
                return
            self._started.add(kernel.key)
        self.events.hook.kregistry_compile_started(kernel=kernel)

    def settle(self, kernel: Kernel, result: Compilation) -> None:
        """Publish what was compiled, or report why nothing was; the first result of a kernel counts."""
        with self.schedule.condition:
            if kernel.key not in self._pending:
                return
        if result.failure:
            failed = FailedKernel(kernel, result.command, result.failure)
            self._broken.put(failed)
            self._fail(failed)
        else:
            seconds = result.seconds + (result.front_end_seconds or 0.0)
            stored = self.store.put(kernel, result.cubin, self.compiler_name, seconds)
            self._fill(kernel, stored)
            compiled = CompiledKernel(kernel, seconds, stored.nbytes, result.front_end_seconds)
            self.compiled.append(compiled)
            self.events.hook.kregistry_kernel_compiled(kernel=kernel, compiled=compiled)
        self._done(kernel)

    def compiling(self) -> None:
        """A compiler has just started or ended."""
        now = time.perf_counter()
        self.compiling_since = self.compiling_since or now
        self.compiling_until = now

    def _compile_alone(self, kernel: Kernel) -> None:
        if self.reserve(kernel, again=partial(self._compile_alone, kernel)):
            result = self.compile(kernel)
            if result is not None:
                self.settle(kernel, result)

    def _done(self, kernel: Kernel) -> None:
        if kernel.key in self._reserved:
            self._reserved.discard(kernel.key)
            self._claims.release(kernel.key)
        with self.schedule.condition:
            self._pending.discard(kernel.key)
            self.schedule.condition.notify_all()

    def _use_known(self, kernel: Kernel) -> bool:
        """Whether the store has the kernel, or the verdict that it does not compile."""
        if self._use_stored(kernel):
            return True
        failed = self._broken.get(kernel)
        if failed is not None:
            self._fail(failed)
        return failed is not None

    def _fail(self, failed: FailedKernel) -> None:
        with self.schedule.condition:
            self.failed.append(failed)
        self.events.hook.kregistry_kernel_failed(kernel=failed.kernel, failed=failed)

    def _use_stored(self, kernel: Kernel) -> bool:
        try:
            stored = self.store.get(kernel.key)
        except DamagedEntry:
            self.store.discard(kernel.key)
            return False
        if stored is None:
            return False
        self._fill(kernel, stored)
        with self.schedule.condition:
            self.found += 1
        self.events.hook.kregistry_kernel_found(kernel=kernel)
        return True

    def _fill(self, kernel: Kernel, stored: StoredKernel) -> None:
        if self.jit_cache.fill(kernel, stored) is not Filled.PRESENT:
            with self.schedule.condition:
                self.filled += 1
