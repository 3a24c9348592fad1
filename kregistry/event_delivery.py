"""Delivery of events, in one thread and in order. A listener that fails or is slow is silenced.

Listeners run in a thread of their own, so that neither their run time nor their errors affect the sender of an event.
The thread starts with an event and ends after one second without an event. If a listener does not return, its thread is
abandoned, and a new thread delivers the other events. Where the process can start no thread (a limit of processes, the
end of the interpreter), whoever waits for delivery delivers the events itself.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import define, field, frozen

from kregistry.entry_points import Provider
from kregistry.errors import describe_error, place_of

_log = logging.getLogger("kregistry.events")

#: Calls that may wait for delivery. Events are per kernel and per entry, not per launch: a large build has thousands.
CAPACITY = 10_000
#: Total seconds that senders may wait while the queue is full, and seconds that a flush may take. After that the
#: slowest listener is silenced.
PATIENCE = 5.0
#: The same for each further slow listener.
_MORE_PATIENCE = 1.0
_IDLE_SECONDS = 1.0


@define(eq=False)
class Listener:
    """A listener, the seconds that each of its hooks has taken so far, and the hooks that are not called again."""

    provider: Provider
    seconds: dict[str, float] = field(factory=lambda: defaultdict(float))
    silenced: set[str] = field(factory=set)
    too_slow: bool = False


@frozen(eq=False)
class Implementation:
    """A listener's function for one hook."""

    listener: Listener
    hook: str
    function: Callable[..., Any]
    parameters: tuple[str, ...]

    @property
    def silenced(self) -> bool:
        return self.listener.too_slow or self.hook in self.listener.silenced


class Delivery:
    """The queue and its thread.

    Args:
        capacity: calls that may wait.
        patience: seconds; see :data:`PATIENCE`.
    """

    def __init__(self, capacity: int = CAPACITY, patience: float = PATIENCE) -> None:
        self._capacity = capacity
        self._patience = self._patience_left = patience
        self._known_to_process = False
        self._interrupted = self._at_exit = False
        self._reset()

    def _reset(self) -> None:
        self._queue: deque[tuple[Implementation, Mapping[str, Any]]] = deque()
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        #: The implementation that is running now, and its start time.
        self._current: tuple[Implementation, float] | None = None

    def put(self, implementations: Iterable[Implementation], arguments: Mapping[str, Any]) -> None:
        """Queue one event. Waits only while the queue is full, and in total no longer than the patience."""
        if not self._in_delivery_thread():
            _warn_of(self._make_room())
        with self._condition:
            self._queue += ((each, arguments) for each in implementations if not each.silenced)
            self._keep_running()
        if self._at_exit:
            self.flush_at_exit()

    def flush(self) -> None:
        """Return when all events so far are delivered. A listener that takes longer than the patience is silenced."""
        if self._in_delivery_thread():
            return
        try:
            _warn_of(self._wait_until(lambda: not self._queue and self._current is None, self._patience))
        except KeyboardInterrupt:
            self._interrupted = True
            raise

    def flush_at_exit(self) -> None:
        """The same, for the end of the process. One ``KeyboardInterrupt``, now or in an earlier flush, ends it.

        Functions of ``atexit`` that were registered before the first event run later; each event of theirs is delivered
        before :meth:`put` returns.
        """
        self._at_exit = True
        if not self._interrupted:
            with contextlib.suppress(KeyboardInterrupt):
                self.flush()

    def _in_delivery_thread(self) -> bool:
        return threading.current_thread() is self._thread

    # ---- waiting ---------------------------------------------------------------------------------------------

    def _make_room(self) -> list[Listener]:
        if len(self._queue) < self._capacity:
            return []
        started = time.monotonic()
        slow = self._wait_until(lambda: len(self._queue) < self._capacity, self._patience_left)
        waited = time.monotonic() - started
        self._patience_left = self._patience if slow else max(0.0, self._patience_left - waited)
        return slow

    def _wait_until(self, done: Callable[[], bool], seconds: float) -> list[Listener]:
        """Wait until ``done``; each time the seconds are over, silence a listener. Returns the silenced listeners."""
        slow: list[Listener] = []
        while True:
            end = time.monotonic() + seconds
            with self._condition:
                self._keep_running()
                self._condition.wait_for(lambda: done() or self._without_thread(), seconds)
                here = self._without_thread() and not done()
            if here:
                self._deliver_here(done, end)
            with self._condition:
                if done():
                    return slow
                if time.monotonic() >= end:
                    slow.append(self._silence_slowest())
                    seconds = _MORE_PATIENCE
                else:
                    seconds = end - time.monotonic()

    def _without_thread(self) -> bool:
        return bool(self._queue) and self._thread is None

    # ---- slow listeners; the condition is held ---------------------------------------------------------------

    def _silence_slowest(self) -> Listener:
        waiting = {implementation.listener for implementation, _ in self._queue}
        if self._current is not None:
            implementation, since = self._current
            waiting.add(implementation.listener)
            implementation.listener.seconds[implementation.hook] += time.monotonic() - since
            self._current = implementation, time.monotonic()
        slowest = max(waiting, key=lambda each: sum(each.seconds.values()))
        slowest.too_slow = True
        self._queue = deque(each for each in self._queue if each[0].listener is not slowest)
        if self._current is not None and self._current[0].listener is slowest:
            self._current = self._thread = None  # the thread ends by itself, once the listener returns
            self._keep_running()
        return slowest

    # ---- the thread ------------------------------------------------------------------------------------------

    def _keep_running(self) -> None:
        """Start the thread if it is needed; without success, a later event tries again. The condition is held."""
        if self._without_thread():
            if not self._known_to_process:
                self._known_to_process = True
                _register_process_hooks(self)
            thread = threading.Thread(target=self._deliver, name="kregistry-events", daemon=True)
            with contextlib.suppress(RuntimeError):  # no more threads, or the end of the interpreter
                thread.start()
                self._thread = thread  # the thread reads it once the condition is free
        self._condition.notify_all()

    def _deliver(self) -> None:
        while self._deliver_next(_IDLE_SECONDS):
            pass

    def _deliver_here(self, done: Callable[[], bool], end: float) -> None:
        """Deliver events in this thread until ``done`` or the end. A call that has begun is not cut short."""
        with self._condition:
            if self._thread is not None:
                return
            self._thread = threading.current_thread()
        try:
            while not done() and time.monotonic() < end and self._deliver_next(0):
                pass
        finally:
            with self._condition:
                if self._in_delivery_thread():
                    self._thread = self._current = None
                    self._condition.notify_all()

    def _deliver_next(self, idle_seconds: float) -> bool:
        """Deliver one call; false if there is none, or if another thread delivers."""
        with self._condition:
            self._condition.wait_for(lambda: self._queue or not self._in_delivery_thread(), idle_seconds)
            if not self._in_delivery_thread():
                return False
            if not self._queue:
                self._thread = None
                return False
            implementation, arguments = self._queue.popleft()
            called = not implementation.silenced
            if called:
                self._current = implementation, time.monotonic()
            self._condition.notify_all()
        if called:
            _call(implementation, arguments)
            self._account()
        return True

    def _account(self) -> None:
        with self._condition:
            if self._in_delivery_thread() and self._current is not None:
                implementation, since = self._current
                implementation.listener.seconds[implementation.hook] += time.monotonic() - since
                self._current = None
                self._condition.notify_all()


def _call(implementation: Implementation, arguments: Mapping[str, Any]) -> None:
    try:
        implementation.function(**{name: arguments[name] for name in implementation.parameters})
    except BaseException as error:  # sys.exit included: no listener may end the delivery
        if _is_control_c(error):
            raise
        if not implementation.silenced:
            implementation.listener.silenced.add(implementation.hook)
            text = "plugin %s: %s() raised %s (%s); it is not called again"
            _warn(text, implementation.listener.provider, implementation.hook, describe_error(error), place_of(error))


def _is_control_c(error: BaseException) -> bool:
    """Python raises the ``KeyboardInterrupt`` of a Ctrl-C in the main thread only."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def _warn_of(slow: Iterable[Listener]) -> None:
    for listener in slow:
        hook = max(listener.seconds, key=lambda hook: listener.seconds[hook], default="its hook")
        text = "plugin %s: %s() is too slow (%.1f s so far); the plugin receives no further event"
        _warn(text, listener.provider, hook, sum(listener.seconds.values()))


def _warn(text: str, *values: object) -> None:
    try:
        _log.warning(text, *values)
    except BaseException as error:  # a log handler of the host
        if _is_control_c(error):
            raise


def _register_process_hooks(delivery: Delivery) -> None:
    """Deliver waiting events when the process ends, and give a forked child an empty queue."""
    reference = weakref.ref(delivery)

    def flush() -> None:
        found = reference()
        if found is not None:
            found.flush_at_exit()

    def forked() -> None:
        found = reference()
        if found is not None:
            found._reset()

    atexit.register(flush)
    os.register_at_fork(after_in_child=forked)
