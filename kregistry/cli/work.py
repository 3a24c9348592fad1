"""The work of a command: what is planned, compiled and loaded so far, and how long the rest will take.

A listener of events without any output. Work is counted in seconds of wall time, as recorded by earlier builds with
this store (or as shipped), and scaled to the pace of this one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from attrs import define, frozen

from kregistry.compile.costs import Costs
from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.kernel_family import member_of
from kregistry.compile.shared.sizes import KernelSizes
from kregistry.events import CompiledKernel, FailedKernel, PlannedEntry, Task, WarmedKernel
from kregistry.hookspecs import hookimpl
from kregistry.kernel import Kernel
from kregistry.machine import available_cores, default_processes
from kregistry.manifest import Entry, Manifest

#: Seconds until the child processes of a dry run have imported torch, and for each value of m.
_PLAN_START, _PLAN_VALUE = 3.5, 3e-5
#: Kernels of an entry that is not planned yet.
_KERNELS_OF_ENTRY = 4
#: Seconds of one launch.
_LAUNCH = 0.005
#: Weight of the recorded seconds when the pace of this run is measured, in seconds of this run.
_PRIOR = 1.5
#: The pace is at most this: a group of kernels that runs long says little about the others.
_MOST = 4.0
#: What is overdue is expected to take this share of its time again.
_OVERDUE = 0.25
#: Running work is never counted as complete.
_ALMOST = 0.95


@frozen
class _Running:
    """Something that runs now: its text, its start, its estimated seconds, and the seconds that are counted before."""

    text: str
    since: float
    seconds: float


@define
class _Estimate:
    """Estimated compiler seconds of one kernel: for the front end, and for the rest."""

    front_end: float
    rest: float
    #: What is counted as done of it.
    done: float = 0.0

    @property
    def whole(self) -> float:
        return self.front_end + self.rest


class Work:
    """Counts events; every method may be called from any thread.

    Args:
        store_directory: the store, with the seconds of earlier builds; ``None``: those that are shipped.
        manifest: what is planned.
        jobs: compilers at once; ``None``: one per core.
        builds: whether kernels are compiled.
        clock: seconds; only differences count.

    Attributes:
        entries, planned: entries in all, and planned so far.
        known, ready, broken: kernels found by the plan; in place; that do not compile.
        launches, loaded: launches of a warm-up in all, and done.
    """

    def __init__(
        self,
        manifest: Manifest | None = None,
        store_directory: Path | None = None,
        jobs: int | None = None,
        builds: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._started = clock()
        directory = store_directory or Path("/nonexistent")
        self._costs, self._sizes = Costs(directory), KernelSizes(directory)
        self._jobs = jobs or available_cores()
        self._processes = default_processes(available_cores())
        self._builds = builds
        self._open_entries: list[Entry] = list(manifest.entries) if manifest else []
        self._values = sum(_values(entry) for entry in self._open_entries)
        self._planned_values = 0
        self._plan_ended: float | None = None
        self._progress_at_plan_end = 0.0
        self._kernels: dict[str, _Estimate] = {}
        self._running: dict[str, _Running] = {}
        self._shown = 0.0
        self.entries = len(self._open_entries)
        self.planned = self.known = self.ready = self.broken = self.launches = self.loaded = 0

    # ---- what a display asks for -----------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        return self._clock() - self._started

    @property
    def running(self) -> int:
        """Tasks that run now."""
        return len(self._running)

    def fraction(self) -> float:
        """How much of the work is done, 0 to 1; never less than before."""
        with self._lock:
            done, left = self.elapsed, self._left()
            if left > 0 or self._plan_ended is not None:
                self._shown = max(self._shown, done / max(done + left, 1e-9))
            return min(self._shown, 1.0)

    def seconds_left(self) -> float:
        """Estimated wall time until the end."""
        with self._lock:
            return self._left()

    def slowest(self) -> str:
        """What has run longest, and for how long; empty if nothing runs."""
        with self._lock:
            if self._running:
                first = min(self._running.values(), key=lambda each: each.since)
                return f"{first.text}, {self._clock() - first.since:.0f} s"
            return ""

    # ---- estimates -------------------------------------------------------------------------------------------

    def _plan_seconds(self) -> float:
        """Seconds of planning that are left."""
        if self._plan_ended is not None or not self.entries:
            return 0.0
        whole = _PLAN_START + _PLAN_VALUE * self._values / self._processes
        share = self._planned_values / self._values if self._values else 0.0
        elapsed = self.elapsed
        if not share:
            return max(whole - elapsed, _OVERDUE * elapsed)
        pace = (elapsed + _PRIOR) / (_PLAN_START + (whole - _PLAN_START) * share + _PRIOR)
        return (whole - _PLAN_START) * (1 - share) * pace

    def _compiler_seconds(self, pace: float) -> float:
        """Estimated compiler seconds that are left, of all kernels."""
        left = sum(each.whole for each in self._kernels.values()) - self._progress(pace)
        unplanned = len(self._open_entries) if self._plan_ended is None and self.entries else 0
        if unplanned:
            whole = [each.whole for each in self._kernels.values()]
            mean = sum(whole) / len(whole) if whole else 2.0
            left += unplanned * _KERNELS_OF_ENTRY * mean
        return max(left, 0.0)

    def _progress(self, pace: float) -> float:
        """Estimated compiler seconds that are done: of what has ended, and of what runs."""
        now = self._clock()
        running = (min((now - each.since) / pace, _ALMOST * each.seconds) for each in self._running.values())
        return sum(each.done for each in self._kernels.values()) + sum(running)

    def _pace(self) -> float:
        """Wall time since planning ended, relative to the estimate for what has been done since."""
        if self._plan_ended is None:
            return 1.0
        elapsed = self._clock() - self._plan_ended
        pace = (elapsed + _PRIOR) / ((self._progress(1.0) - self._progress_at_plan_end) / self._jobs + _PRIOR)
        return min(pace, _MOST)

    def _left(self) -> float:
        compiling = 0.0
        if self._builds:
            pace = self._pace()
            left = self._compiler_seconds(pace)
            longest = max((each.whole - each.done for each in self._kernels.values()), default=0.0)
            compiling = max(left / self._jobs, min(longest, left)) * pace
        return self._plan_seconds() + compiling + (self.launches - self.loaded) * _LAUNCH

    def _estimate(self, kernel: Kernel) -> _Estimate:
        try:
            size = self._sizes.relative(member_of(kernel))
        except CannotShare:
            size = 1.0
        cost = self._costs.cost(kernel.name).of_size(size)
        return _Estimate(cost.generate, cost.assemble)

    def _task_seconds(self, task: Task) -> float:
        """Estimated compiler seconds that a task adds to what is done; of parsing and comparing none are expected."""
        known = [self._kernels[kernel] for kernel in task.kernels if kernel in self._kernels]
        if task.stage == "generate":
            return sum(each.front_end - each.done for each in known)
        return sum(each.whole - each.done for each in known) if task.stage in ("assemble", "alone") else 0.0

    def _credit(self, kernel: str, amount: Callable[[_Estimate], float]) -> None:
        estimate = self._kernels.get(kernel)
        if estimate is not None:
            estimate.done = max(estimate.done, amount(estimate))

    def _end_plan_if_complete(self) -> None:
        if self.planned >= self.entries:
            self._end_plan()

    def _end_plan(self) -> None:
        if self._plan_ended is None:
            self._plan_ended = self._clock()
            self._progress_at_plan_end = self._progress(1.0)

    # ---- events ----------------------------------------------------------------------------------------------

    @hookimpl
    def kregistry_plan_started(self, entries: int) -> None:
        with self._lock:
            self.entries = entries
            self._end_plan_if_complete()

    @hookimpl
    def kregistry_entry_planned(self, entry: PlannedEntry) -> None:
        with self._lock:
            self.planned += 1
            self._planned_values += _values(entry.entry)
            if entry.entry in self._open_entries:
                self._open_entries.remove(entry.entry)
            self._end_plan_if_complete()

    @hookimpl
    def kregistry_kernel_planned(self, kernel: Kernel) -> None:
        with self._lock:
            self.known += 1
            if self._builds:
                self._kernels[kernel.id] = self._estimate(kernel)

    @hookimpl
    def kregistry_kernel_found(self, kernel: Kernel) -> None:
        with self._lock:
            self.ready += 1
            self._kernels.pop(kernel.id, None)  # it is no work

    @hookimpl
    def kregistry_task_started(self, task: Task) -> None:
        with self._lock:
            self._running[task.worker] = _Running(_describe(task), self._clock(), self._task_seconds(task))

    @hookimpl
    def kregistry_task_finished(self, task: Task) -> None:
        with self._lock:
            self._running.pop(task.worker, None)
            if task.stage == "generate":
                for kernel in task.kernels:
                    self._credit(kernel, lambda estimate: estimate.front_end)

    @hookimpl
    def kregistry_kernel_compiled(self, kernel: Kernel, compiled: CompiledKernel) -> None:
        with self._lock:
            self.ready += 1
            self._settle(kernel)

    @hookimpl
    def kregistry_kernel_failed(self, kernel: Kernel, failed: FailedKernel) -> None:
        with self._lock:
            self.broken += 1
            self._settle(kernel)

    @hookimpl
    def kregistry_warmup_started(self, launches: int) -> None:
        with self._lock:
            self.launches = launches
            self._end_plan()

    @hookimpl
    def kregistry_kernel_warmed(self, warmed: WarmedKernel) -> None:
        with self._lock:
            self.loaded += 1

    def _settle(self, kernel: Kernel) -> None:
        self._credit(kernel.id, lambda estimate: estimate.whole)


def _values(entry: Entry) -> int:
    return len(entry.range.values())


#: What a task does, in words; the second word stands for its text.
_WORDS = {
    "start": "loading",
    "plan": "planning",
    "parse": "parsing the headers of",
    "generate": "front end of",
    "assemble": "assembling",
    "alone": "nvcc of",
    "compare": "nvcc, to compare,",
    "cluster": "on the cluster:",
}


def _describe(task: Task) -> str:
    text = f"{len(task.kernels)} {task.text}" if task.stage == "generate" else task.text
    return f"{_WORDS.get(task.stage, task.stage)} {task.kernels[0] if len(task.kernels) == 1 else text}"
