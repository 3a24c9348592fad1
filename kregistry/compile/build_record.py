"""What a build has done so far: reported to listeners as it happens, and kept for the report at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import evolve

from kregistry.compile.build_report import (
    BuildReport,
    ComparedKernel,
    FrontEndRun,
    KnownFamily,
    NotShared,
    ParsedHeaders,
    SharingReport,
)
from kregistry.compile.job import Job, State
from kregistry.deep_gemm.jit_cache import Filled
from kregistry.events.compiled import CompiledKernel, FailedKernel
from kregistry.events.tasks import Task
from kregistry.kernel import Kernel
from kregistry.plan.plan import Plan
from kregistry.remote.tier_use import TierUse

if TYPE_CHECKING:
    from kregistry.compile.cluster import ClusterUse


class BuildRecord:
    """Collects results and calls the event hooks. Safe against threads; hooks are called without the lock.

    Attributes:
        compiled: the kernels that this build compiled.
        failed: the kernels that do not compile.
        found: how many kernels were in the store, or were made by another builder meanwhile.
        fetched: how many of them a remote had.
        found_keys: the keys of those.
        tasks: what was done, in the order of their ends.
        outdated: how many kernels of an older format were removed from the store.
        filled: how many entries of the JIT cache were added or repaired.
        front_ends: the front-end runs for several kernels.
    """

    def __init__(self, hook: Any) -> None:
        self._hook = hook
        self._lock = threading.Lock()
        self.compiled: list[CompiledKernel] = []
        self.failed: list[FailedKernel] = []
        self.found = 0
        self.fetched = 0
        self.outdated = 0
        self.filled = 0
        self.tasks: list[Task] = []
        self.found_keys: list[str] = []
        self.front_ends: list[FrontEndRun] = []
        self._parsed: list[ParsedHeaders] = []
        self._not_shared: list[NotShared] = []
        self._compared: list[ComparedKernel] = []
        self._known: list[KnownFamily] = []
        self._since = self._until = 0.0

    @property
    def compiling_seconds(self) -> float:
        """Wall time from the start of the first compiler to the end of the last."""
        return self._until - self._since

    def counts(self) -> dict[str, Any]:
        """The sums that are kept beside the store, as :func:`kregistry.remote.usage.note_usage` takes them."""
        missed = self.fetched + len(self.compiled) + len(self.failed)
        return {
            "found": self.found - self.fetched,
            "missed": missed,
            "compile_seconds": [each.seconds for each in self.compiled],
        }

    def sharing(self) -> SharingReport:
        """The front ends that kernels have shared."""
        with self._lock:
            return SharingReport(
                tuple(self._parsed),
                tuple(self.front_ends),
                tuple(self._not_shared),
                tuple(self._compared),
                tuple(self._known),
            )

    def report(
        self,
        plan: Plan,
        cache_directory: str,
        seconds: float,
        remote: tuple[TierUse, ...] = (),
        cluster: ClusterUse | None = None,
    ) -> BuildReport:
        """The report of the build that has ended. What was compiled early and is not in the plan is left out.

        Args:
            plan: what was built.
            cache_directory: the JIT cache, or what was filled in its place.
            seconds: wall time of the build, including planning.
            remote: how each remote tier was used.
            cluster: how a cluster was used; ``None`` without one.
        """
        planned = {kernel.key for kernel in plan.kernels.values()}
        failed = [each for each in self.failed if each.kernel.key in planned]
        return BuildReport(
            plan=plan,
            compiled=tuple(each for each in self.compiled if each.kernel.key in planned),
            found=sum(key in planned for key in self.found_keys),
            failed=tuple(sorted(failed, key=lambda each: each.kernel.id)),
            filled=self.filled,
            cache_directory=cache_directory,
            seconds=seconds,
            compiling_seconds=self.compiling_seconds,
            sharing=self.sharing(),
            outdated=self.outdated,
            remote=remote,
            cluster=cluster,
        )

    # ---- kernels ---------------------------------------------------------------------------------------------

    def kernel_found(self, kernel: Kernel) -> None:
        """A kernel need not be compiled."""
        with self._lock:
            self.found += 1
            self.found_keys.append(kernel.key)
        self._hook.kregistry_kernel_found(kernel=kernel)

    def kernel_fetched(self) -> None:
        """A remote had a kernel, which is now in the store; :meth:`kernel_found` follows."""
        with self._lock:
            self.fetched += 1

    def kernels_outdated(self, count: int) -> None:
        """Kernels that an older kregistry had left in the store have been removed."""
        with self._lock:
            self.outdated += count

    def kernel_awaited(self, kernel: Kernel, owner: str) -> None:
        """Another builder has been compiling a kernel for some seconds."""
        self._hook.kregistry_kernel_awaited(kernel=kernel, owner=owner)

    def kernel_failed(self, failed: FailedKernel) -> None:
        """A kernel does not compile."""
        with self._lock:
            self.failed.append(failed)
        self._hook.kregistry_kernel_failed(kernel=failed.kernel, failed=failed)

    def kernel_compiled(self, compiled: CompiledKernel) -> None:
        """A kernel has been compiled and published."""
        with self._lock:
            self.compiled.append(compiled)
        self._hook.kregistry_kernel_compiled(kernel=compiled.kernel, compiled=compiled)

    def cache_filled(self, filled: Filled) -> None:
        """The JIT cache has been filled with one kernel."""
        if filled is not Filled.PRESENT:
            with self._lock:
                self.filled += 1

    # ---- compilers -------------------------------------------------------------------------------------------

    def compile_started(self, job: Job) -> None:
        """Compilation of a kernel starts; listeners hear of it once, even if several compiler runs are needed."""
        if job.advance(State.COMPILING):
            self._hook.kregistry_compile_started(kernel=job.kernel)

    @contextmanager
    def task(self, stage: str, text: str, kernels: tuple[Kernel, ...] = ()) -> Iterator[None]:
        """A compiler, or one of its steps, runs as long as the block, in this thread.

        Args:
            stage: one of :data:`kregistry.events.tasks.STAGES`.
            text: the family.
            kernels: what it makes.
        """
        worker, ids = threading.current_thread().name, tuple(kernel.id for kernel in kernels)
        task = Task(stage, text, worker, ids, time.time())
        self._hook.kregistry_task_started(task=task)
        self._note_time()
        started = time.perf_counter()
        try:
            yield
        finally:
            self._note_time()
            task = evolve(task, seconds=time.perf_counter() - started)
            self.add_task(task)
            self._hook.kregistry_task_finished(task=task)

    def add_task(self, task: Task) -> None:
        """Keep a task that has ended."""
        with self._lock:
            self.tasks.append(task)

    @contextmanager
    def front_end(self, kernels: tuple[Kernel, ...]) -> Iterator[None]:
        """A front end for several kernels runs as long as the block."""
        self._hook.kregistry_front_end_started(kernels=kernels)
        started = time.perf_counter()
        try:
            with self.task("generate", kernels[0].name, kernels):
                yield
        finally:
            self._hook.kregistry_front_end_finished(kernels=kernels, seconds=time.perf_counter() - started)

    def _note_time(self) -> None:
        now = time.perf_counter()
        with self._lock:
            self._since = self._since or now
            self._until = max(self._until, now)

    # ---- shared front ends -----------------------------------------------------------------------------------

    def headers_parsed(self, parsed: ParsedHeaders) -> None:
        """The headers of a family have been parsed."""
        with self._lock:
            self._parsed.append(parsed)

    def front_end_run(self, run: FrontEndRun) -> None:
        """A front end has generated PTX for several kernels."""
        with self._lock:
            self.front_ends.append(run)

    def not_shared(self, kernel: Kernel, reason: str) -> None:
        """A kernel is compiled on its own, although front ends are shared."""
        with self._lock:
            self._not_shared.append(NotShared(kernel, reason))
        self._hook.kregistry_front_end_not_shared(kernel=kernel, reason=reason)

    def family_known(self, family: KnownFamily) -> None:
        """A family was compared before."""
        with self._lock:
            self._known.append(family)

    def compared(self, kernel: Kernel, difference: str) -> None:
        """A kernel has been compiled both ways; ``difference`` is empty if the cubins are the same."""
        with self._lock:
            self._compared.append(ComparedKernel(kernel, difference))
        self._hook.kregistry_front_end_compared(kernel=kernel, difference=difference)
