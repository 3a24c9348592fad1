"""The schedule of a build: tasks for a number of threads, the longest first, and some not before their time."""

from __future__ import annotations

import heapq
import itertools
import signal
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

Work: TypeAlias = Callable[[], None]

#: How long to gather tasks after the first one: those that take longest are known by then, and start first.
_GATHER_SECONDS = 0.3


class Source:
    """Where workers find tasks that are made when they are taken; asked under the schedule's lock."""

    def take(self, now: float, other_seconds: float) -> tuple[float, Work] | None:
        """Estimated seconds and work; ``None`` if nothing is due. ``other_seconds``: of the work in the schedule."""
        return None

    def next_due(self) -> float | None:
        """When something will be due, on the monotonic clock; ``None`` if there is nothing."""
        return None


class Schedule:
    """Runs tasks on threads of its own; use as a context manager.

    Attributes:
        condition: guards everything here, and the source; notify it when the source has changed.
        error: the first exception of a task, which ends the schedule.
    """

    def __init__(self, workers: int, source: Source) -> None:
        self.condition = threading.Condition()
        self.error: BaseException | None = None
        self._workers = workers
        self._source = source
        self._ready: list[tuple[float, int, Work]] = []
        self._delayed: list[tuple[float, int, float, Work]] = []
        self._seconds = 0.0
        self._order = itertools.count()
        self._opens_at = 0.0
        self._closed = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        for _ in range(self._workers):
            thread = threading.Thread(target=self._work, daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """No task follows any more: threads end when nothing is left, or at once after :meth:`fail`."""
        with self.condition:
            self._closed = True
            self.condition.notify_all()
        for thread in self._threads:
            thread.join()

    def fail(self, error: BaseException) -> None:
        """End the schedule: no further task is begun."""
        with self.condition:
            self.error = self.error or error
            self.condition.notify_all()

    def put(self, seconds: float, work: Work, delay: float = 0.0) -> None:
        """Add a task that will take about so long, not to be begun before ``delay`` seconds have passed."""
        with self.condition:
            if delay:
                heapq.heappush(self._delayed, (time.monotonic() + delay, next(self._order), seconds, work))
            else:
                self.gather()
                self._push(seconds, work)
            self.condition.notify_all()

    def gather(self) -> None:
        """The first task is known: wait a little for others, which may be longer."""
        self._opens_at = self._opens_at or time.monotonic() + _GATHER_SECONDS

    def _push(self, seconds: float, work: Work) -> None:
        self._seconds += seconds
        heapq.heappush(self._ready, (-seconds, next(self._order), work))

    def _work(self) -> None:
        # An interrupt is for the main thread; compilers inherit the mask, and are ended by stop() instead.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        while (task := self._next()) is not None:
            seconds, work = task
            try:
                work()
            except BaseException as error:  # handed to the thread that waits for the build
                self.fail(error)
            with self.condition:
                self._seconds -= seconds
                self.condition.notify_all()

    def _next(self) -> tuple[float, Work] | None:
        """The next task and its seconds; ``None`` when there will be none."""
        with self.condition:
            while self.error is None:
                now = time.monotonic()
                while self._delayed and self._delayed[0][0] <= now:
                    _, _, seconds, work = heapq.heappop(self._delayed)
                    self._push(seconds, work)
                if now < self._opens_at and not self._closed:
                    self.condition.wait(self._opens_at - now)
                    continue
                made = self._source.take(now, self._seconds)
                if made is not None:
                    self._seconds += made[0]
                    return made
                if self._ready:
                    seconds, _, work = heapq.heappop(self._ready)
                    return -seconds, work
                due = [time for time in (self._source.next_due(), *(each[0] for each in self._delayed[:1])) if time]
                if self._closed and not due:
                    return None
                self.condition.wait(min(due) - now if due else None)
            return None
