"""The schedule of a build: a number of threads that run tasks, longest first. A task may have an earliest start.

Tasks of a kernel that a call waits for come before all others.
"""

from __future__ import annotations

import heapq
import itertools
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias, TypeVar

Work: TypeAlias = Callable[[], None]
_Result = TypeVar("_Result")

#: How long to collect tasks after the first one, so that the longest of them can start first.
_GATHER_SECONDS = 0.3
#: A waiting main thread looks up this often: a signal that another thread receives does not wake it.
_SIGNAL_SECONDS = 0.5


class OnDemandTasks(Protocol):
    """Tasks that are made only when a worker is free to run one. Called under the schedule's lock."""

    def prepare(self, now: float) -> tuple[float, Work] | None:
        """Make a task that others need, whichever come: it starts while the first tasks are being collected.

        Args:
            now: the time of the monotonic clock, in seconds.

        Returns:
            estimated seconds and the work; ``None`` if there is none.
        """

    def take(self, now: float, other_seconds: float) -> tuple[float, Work] | None:
        """Make the next task.

        Args:
            now: the time of the monotonic clock, in seconds.
            other_seconds: estimated seconds of the tasks that the schedule holds or runs.

        Returns:
            estimated seconds and the work; ``None`` if no task is due.
        """

    def next_due(self) -> float | None:
        """When a task will be due, on the monotonic clock; ``None`` if none will be by the passing of time."""


class _NoTasks:
    def prepare(self, now: float) -> tuple[float, Work] | None:
        return None

    def take(self, now: float, other_seconds: float) -> tuple[float, Work] | None:
        return None

    def next_due(self) -> float | None:
        return None


#: A task that is ready: its rank (the smallest runs first), its number, estimated seconds, key of its kernel, work.
_Task: TypeAlias = tuple[float, int, float, str, Work]
_URGENT = -math.inf


class Standstill(Exception):
    """What :meth:`Schedule.wait` waits for cannot come about any more: a bug of a stage, which has lost a kernel."""


class Schedule:
    """Runs tasks on its own threads.

    Attributes:
        error: the first exception that a task raised; it ends the schedule.
    """

    def __init__(self, workers: int) -> None:
        self.error: BaseException | None = None
        self._condition = threading.Condition()
        self._workers = workers
        self._ready: list[_Task] = []
        self._delayed: list[tuple[float, int, float, str, Work]] = []
        self._urgent: set[str] = set()
        self._seconds = 0.0
        self._order = itertools.count()
        self._opens_at = 0.0
        self._closed = False
        self._threads: list[threading.Thread] = []
        #: The workers that have found nothing to do, now or later, since the last change.
        self._idle: set[int] = set()
        self._elsewhere = 0

    def start(self, on_demand: OnDemandTasks | None = None) -> None:
        """Start the threads. A task made on demand comes before those of :meth:`put` that are not urgent."""
        for number in range(1, self._workers + 1):
            arguments = [on_demand or _NoTasks()]
            thread = threading.Thread(target=self._work, args=arguments, name=f"worker {number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """Wait until the threads have ended: when no task is left, or at once after :meth:`fail`."""
        with self._condition:
            self._closed = True
            self._wake()
        for thread in self._threads:
            thread.join()

    def fail(self, error: BaseException) -> None:
        """End the schedule: no further task starts."""
        with self._condition:
            self.error = self.error or error
            self._wake()

    def put(self, seconds: float, work: Work, delay: float = 0.0, key: str = "") -> None:
        """Add a task.

        Args:
            seconds: estimated duration.
            delay: seconds before which the task does not start.
            key: the kernel that it is for, if it is for one.
        """
        with self._condition:
            if delay:
                heapq.heappush(self._delayed, (time.monotonic() + delay, next(self._order), seconds, key, work))
            else:
                self._gather()
                self._push(seconds, key, work)
            self._wake()

    def announce(self) -> Callable[[Work], None]:
        """Announce a task that a thread outside the schedule will add: until then, more is to come.

        Returns:
            adds the task; to be called once.
        """

        def arrived(work: Work) -> None:
            with self._condition:
                self._elsewhere -= 1
                self.put(0.0, work)

        with self._condition:
            self._elsewhere += 1
        return arrived

    def first(self, keys: Iterable[str]) -> None:
        """Run the tasks of these kernels before all others, including tasks that are added later."""
        with self._condition:
            self._urgent.update(keys)
            self._ready = [
                (self._rank(seconds, key), number, seconds, key, work) for _, number, seconds, key, work in self._ready
            ]
            heapq.heapify(self._ready)
            self._wake()

    def change(self, change: Callable[[], _Result]) -> _Result:
        """Run a function under the schedule's lock, then wake all who wait.

        Whatever on-demand tasks are made from, or :meth:`wait` asks for, is changed in this way.
        """
        with self._condition:
            self._gather()
            result = change()
            self._wake()
            return result

    def open(self) -> None:
        """The longest of the first tasks are known: start them now."""
        with self._condition:
            self._opens_at = time.monotonic()
            self._wake()

    def wait(self, done: Callable[[], bool], awaited: Callable[[], str] | None = None) -> None:
        """Wait until a condition holds. It is checked under the lock, after each task and each change.

        Args:
            awaited: says what is still waited for. It is given where only tasks bring the condition about.

        Raises:
            BaseException: the first exception that a task raised.
            Standstill: only tasks bring the condition about, and none runs, is ready, or will be.
        """
        with self._condition:
            while self.error is None and not done():
                if awaited is not None and len(self._idle) == self._workers and not self._elsewhere:
                    raise Standstill(f"nothing is left to do, and these would be waited for without end: {awaited()}")
                self._condition.wait(_SIGNAL_SECONDS)
            if self.error is not None:
                raise self.error

    def _wake(self) -> None:
        """Something has changed: whoever waits looks again, so that no worker counts as idle until it has looked."""
        self._idle.clear()
        self._condition.notify_all()

    def _gather(self) -> None:
        """The first task is known: wait a little for others, which may be longer."""
        self._opens_at = self._opens_at or time.monotonic() + _GATHER_SECONDS

    def _push(self, seconds: float, key: str, work: Work) -> None:
        self._seconds += seconds
        heapq.heappush(self._ready, (self._rank(seconds, key), next(self._order), seconds, key, work))

    def _rank(self, seconds: float, key: str) -> float:
        return _URGENT if key in self._urgent else -seconds

    def _work(self, on_demand: OnDemandTasks) -> None:
        # Only the main thread handles an interrupt. Compilers inherit this mask and are ended by Nvcc.stop() instead.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        try:
            while (task := self._next(on_demand)) is not None:
                seconds, work = task
                work()
                with self._condition:
                    self._seconds -= seconds
                    self._wake()
        except BaseException as error:  # raised again by wait(), in the thread that waits for the build
            self.fail(error)

    def _next(self, on_demand: OnDemandTasks) -> tuple[float, Work] | None:
        """The next task and its seconds; ``None`` when there will be none."""
        with self._condition:
            while self.error is None:
                now = time.monotonic()
                while self._delayed and self._delayed[0][0] <= now:
                    _, _, seconds, key, work = heapq.heappop(self._delayed)
                    self._push(seconds, key, work)
                gathers = now < self._opens_at and not self._closed
                urgent = bool(self._ready) and self._ready[0][0] == _URGENT
                made = None
                if gathers:
                    made = on_demand.prepare(now)
                elif not urgent:
                    made = on_demand.take(now, self._seconds)
                if made is not None:
                    self._seconds += made[0]
                    return made
                if gathers:
                    self._condition.wait(self._opens_at - now)
                    continue
                if self._ready:
                    _, _, seconds, _, work = heapq.heappop(self._ready)
                    return seconds, work
                due = [time for time in (on_demand.next_due(), *(each[0] for each in self._delayed[:1])) if time]
                if self._closed and not due:
                    return None
                if due:
                    self._condition.wait(min(due) - now)
                else:
                    self._idle.add(threading.get_ident())
                    self._condition.wait()
            return None
