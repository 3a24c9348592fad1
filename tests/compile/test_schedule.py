"""The schedule: the longest first, after a moment of gathering; delays, tasks on demand; an exception ends it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial

import pytest

from kregistry.compile import schedule as module
from kregistry.compile.schedule import OnDemandTasks, Schedule, Standstill, Work

#: For what must happen: long enough for any machine, waited for only where a test fails.
LIMIT = 60.0


class Clock:
    """A clock that stands still, and knows how often threads of a schedule have looked at it."""

    def __init__(self) -> None:
        self.now = 100.0
        self._looks = threading.Semaphore(0)

    def monotonic(self) -> float:
        if threading.current_thread() is not threading.main_thread():
            self._looks.release()
        return self.now

    def advance(self, made: Schedule, seconds: float) -> None:
        def change() -> None:
            self.now += seconds

        made.change(change)

    def wait_for_looks(self, made: Schedule) -> None:
        """Until a worker has looked twice from now on: it has then decided what to do at this time."""

        def forget_looks() -> None:
            while self._looks.acquire(blocking=False):
                pass

        made.change(forget_looks)
        for _ in range(2):
            assert self._looks.acquire(timeout=LIMIT)
            made.change(lambda: None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def ran() -> list[str]:
    """Names of the tasks that have run, in order."""
    return []


def run(made: Schedule, on_demand: OnDemandTasks | None = None) -> None:
    made.start(on_demand)
    made.close()


def last(ran: list[str], name: str, done: threading.Event) -> Work:
    """A task after which a test goes on."""

    def work() -> None:
        ran.append(name)
        done.set()

    return work


def test_the_longest_first_and_equals_in_their_order(ran: list[str]) -> None:
    made = Schedule(1)
    for name, seconds in [("b", 2.0), ("d", 1.0), ("a", 3.0), ("c", 2.0), ("e", 0.0)]:
        made.put(seconds, partial(ran.append, name))
    run(made)
    assert ran == ["a", "b", "c", "d", "e"]


def test_nothing_to_do() -> None:
    made = Schedule(3)
    run(made)
    assert made.error is None


def test_after_the_first_task_others_are_waited_for(clock: Clock, ran: list[str]) -> None:
    done = threading.Event()
    made = Schedule(1)
    made.start()
    made.put(1.0, last(ran, "short", done))
    clock.wait_for_looks(made)
    assert ran == []
    made.put(9.0, partial(ran.append, "long"))
    clock.advance(made, 0.3)
    assert done.wait(LIMIT)
    assert ran == ["long", "short"]
    made.close()


def test_tasks_are_gathered_once(clock: Clock, ran: list[str]) -> None:
    """One that comes when the schedule has opened is begun at once: the clock stands still."""
    first, second = threading.Event(), threading.Event()
    made = Schedule(1)
    made.start()
    made.put(1.0, last(ran, "first", first))
    clock.advance(made, 0.3)
    assert first.wait(LIMIT)
    made.put(1.0, last(ran, "second", second))
    assert second.wait(LIMIT)
    made.close()


def test_a_delayed_task_is_not_begun_before_its_time(clock: Clock, ran: list[str]) -> None:
    done = threading.Event()
    made = Schedule(1)
    made.start()
    made.put(9.0, last(ran, "delayed", done), delay=5.0)
    made.put(1.0, partial(ran.append, "ready"))
    clock.advance(made, 4.5)
    clock.wait_for_looks(made)
    assert ran == ["ready"]
    clock.advance(made, 0.5)
    assert done.wait(LIMIT)
    made.close()


def test_closing_waits_for_delayed_tasks_and_for_what_tasks_add(ran: list[str]) -> None:
    made = Schedule(2)

    def first() -> None:
        made.put(1.0, partial(ran.append, "second"))
        made.put(1.0, partial(ran.append, "third"), delay=0.01)

    made.put(1.0, first)
    made.put(1.0, partial(ran.append, "delayed"), delay=0.01)
    run(made)
    assert sorted(ran) == ["delayed", "second", "third"]


def test_each_worker_runs_a_task() -> None:
    """All at once: they wait for one another."""
    made = Schedule(3)
    barrier = threading.Barrier(3)
    for _ in range(3):
        made.put(1.0, partial(barrier.wait, LIMIT))
    run(made)
    assert made.error is None


def test_workers_leave_interrupts_to_the_main_thread() -> None:
    made = Schedule(1)
    masks: list[set[int]] = []
    made.put(1.0, lambda: masks.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, []))))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    run(made)
    assert [signal.SIGINT in mask for mask in masks] == [True]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_tasks_of_an_urgent_kernel_come_first_also_those_that_are_added_later(ran: list[str]) -> None:
    made = Schedule(1)
    made.put(3.0, partial(ran.append, "long"), key="long")
    made.put(1.0, partial(ran.append, "short"), key="short")
    made.put(2.0, partial(ran.append, "of no kernel"))
    made.first(["short", "later"])
    made.put(1.0, partial(ran.append, "later"), key="later")
    run(made, Tasks([(9.0, partial(ran.append, "made"))]))
    assert ran == ["short", "later", "made", "long", "of no kernel"]


class Tasks:
    """Gives tasks one by one, each when it is due, and records what it hears about the others.

    Attributes:
        needed: tasks that others need.
    """

    def __init__(self, tasks: Iterable[tuple[float, Work]], due: Callable[[], float | None] = lambda: None) -> None:
        self._tasks = list(tasks)
        self._due = due
        self.needed: list[tuple[float, Work]] = []
        self.other_seconds: list[float] = []

    def prepare(self, now: float) -> tuple[float, Work] | None:
        return self.needed.pop(0) if self.needed else None

    def take(self, now: float, other_seconds: float) -> tuple[float, Work] | None:
        self.other_seconds.append(other_seconds)
        due = self.next_due()
        return self._tasks.pop(0) if self._tasks and (due is None or due <= now) else None

    def next_due(self) -> float | None:
        return self._due() if self._tasks else None


def test_a_source_comes_first_and_hears_of_the_work_that_waits(ran: list[str]) -> None:
    source = Tasks([(4.0, partial(ran.append, "made"))])
    made = Schedule(1)
    made.put(2.0, partial(ran.append, "b"))
    made.put(3.0, partial(ran.append, "a"))
    run(made, source)
    assert ran == ["made", "a", "b"]
    assert source.other_seconds == [5.0, 5.0, 2.0, 0.0]


def test_what_others_need_starts_while_tasks_are_gathered(clock: Clock, ran: list[str]) -> None:
    done = threading.Event()
    source = Tasks([(9.0, partial(ran.append, "made"))])
    source.needed.append((1.0, last(ran, "needed", done)))
    made = Schedule(1)
    made.put(1.0, partial(ran.append, "ready"))
    made.start(source)
    assert done.wait(LIMIT)
    clock.wait_for_looks(made)
    assert ran == ["needed"]
    clock.advance(made, 0.3)
    made.close()
    assert ran == ["needed", "made", "ready"]


def test_a_source_hears_of_the_work_that_runs() -> None:
    """Seconds count until a task has ended, those of the source's own tasks as well."""
    work = partial(threading.Barrier(3).wait, LIMIT)
    source = Tasks([(4.0, work)])
    made = Schedule(3)
    made.put(2.0, work)
    made.put(1.0, work)
    run(made, source)
    assert made.error is None
    assert source.other_seconds[:3] == [3.0, 7.0, 7.0]
    assert source.other_seconds[-1] == 0.0


def test_closing_waits_for_what_a_source_will_have(ran: list[str]) -> None:
    due = time.monotonic() + 0.01
    run(Schedule(2), Tasks([(1.0, partial(ran.append, "late"))], lambda: due))
    assert ran == ["late"]


@pytest.mark.parametrize("error", [ValueError("odd"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_an_exception_ends_the_schedule_and_comes_out(error: BaseException, ran: list[str]) -> None:
    def work() -> None:
        ran.append("raises")
        raise error

    made = Schedule(1)
    made.put(2.0, work)
    made.put(1.0, partial(ran.append, "other"))
    run(made)
    assert ran == ["raises"]
    assert made.error is error
    made.fail(ValueError("later"))
    assert made.error is error


def test_a_failed_schedule_begins_nothing_and_waits_for_nothing(ran: list[str]) -> None:
    made = Schedule(2)
    made.start()
    made.put(1.0, partial(ran.append, "delayed"), delay=3600.0)
    error = InterruptedError()

    def add_and_fail() -> None:
        made.put(1.0, partial(ran.append, "ready"))
        made.fail(error)

    made.change(add_and_fail)
    made.close()
    assert made.error is error
    assert ran == []


def test_waiting_ends_with_a_task_or_a_change_that_brings_it_about(
    ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Woken up by the schedule: looking up by itself would take longer than the test may."""
    monkeypatch.setattr(module, "_SIGNAL_SECONDS", 3600.0)
    made = Schedule(1)
    made.start()
    made.put(1.0, partial(ran.append, "a"))
    made.wait(lambda: ran == ["a"])
    asked = threading.Event()
    waiting = threading.Thread(target=made.wait, args=[lambda: asked.set() or "b" in ran], daemon=True)
    waiting.start()
    assert asked.wait(LIMIT)
    made.change(partial(ran.append, "b"))
    waiting.join(LIMIT)
    assert not waiting.is_alive()
    made.close()


def test_waiting_ends_with_the_first_exception_of_a_task() -> None:
    def work() -> None:
        raise ValueError("odd")

    made = Schedule(1)
    made.start()
    made.put(1.0, work)
    with pytest.raises(ValueError, match="odd"):
        made.wait(lambda: False)
    made.close()


def test_a_change_gives_its_result_and_may_add_tasks(ran: list[str]) -> None:
    made = Schedule(1)

    def change() -> str:
        made.put(1.0, partial(ran.append, "added"))
        return "result"

    assert made.change(change) == "result"
    run(made)
    assert ran == ["added"]


class Faulty:
    """Raises when a worker asks for a task: an error in what makes them."""

    def prepare(self, now: float) -> tuple[float, Work] | None:
        return None

    def take(self, now: float, other_seconds: float) -> tuple[float, Work] | None:
        raise KeyError("lost")

    def next_due(self) -> float | None:
        return None


def test_an_exception_of_what_makes_tasks_ends_the_schedule_too() -> None:
    """Otherwise its thread would end, and whoever waits would never hear of it."""
    made = Schedule(1)
    made.start(Faulty())
    with pytest.raises(KeyError, match="lost"):
        made.wait(lambda: False)
    made.close()


# ---- a standstill ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_waiting_for_what_no_task_brings_about_is_a_bug(workers: int, ran: list[str]) -> None:
    """It ends with the names of what is awaited, once everything else is done."""
    made = Schedule(workers)
    made.start()
    made.put(1.0, partial(ran.append, "a"))
    made.put(1.0, partial(ran.append, "b"), delay=0.05)
    with pytest.raises(Standstill, match=r"nothing is left to do, .*: a kernel"):
        made.wait(lambda: False, lambda: "a kernel")
    assert ran == ["a", "b"]
    made.close()


def test_before_the_workers_have_started_nothing_stands_still(ran: list[str]) -> None:
    made = Schedule(1)
    made.put(1.0, partial(ran.append, "a"))
    starting = threading.Timer(0.05, made.start)
    starting.start()
    made.wait(lambda: ran == ["a"], lambda: "a")
    starting.join()
    made.close()


def test_a_task_that_a_source_will_have_is_waited_for(ran: list[str]) -> None:
    due = time.monotonic() + 0.1
    made = Schedule(2)
    made.start(Tasks([(1.0, partial(ran.append, "late"))], lambda: due))
    made.wait(lambda: ran == ["late"], lambda: "late")
    made.close()


def test_what_a_thread_outside_has_announced_is_waited_for(
    clock: Clock, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no longer: the answer of a cluster is a task, and then nothing more is announced."""
    monkeypatch.setattr(module, "_SIGNAL_SECONDS", 0.001)  # it looks often, and finds all workers idle each time
    made = Schedule(2)
    arrived = made.announce()
    made.start()
    asked, looks = threading.Event(), []

    def done() -> bool:
        looks.append(1)
        if len(looks) > 20:
            asked.set()
        return bool(ran)

    def answer() -> None:
        assert asked.wait(LIMIT)
        arrived(partial(ran.append, "from outside"))
        clock.advance(made, 0.3)

    answering = threading.Thread(target=answer)
    answering.start()
    made.wait(done, lambda: "from outside")
    answering.join()
    with pytest.raises(Standstill):
        made.wait(lambda: False, lambda: "another")
    made.close()


def test_a_worker_that_was_woken_and_has_not_looked_yet_is_not_idle(ran: list[str]) -> None:
    """Tasks come and end all the time, also from other threads: in no order is it a false alarm."""
    made = Schedule(4)
    made.start()
    made.open()

    def chain(left: int) -> None:
        if left:
            made.put(0.0, partial(chain, left - 1), delay=0.0001 * (left % 3))
        else:
            ran.append("end")

    for length in range(200):
        made.put(0.0, partial(chain, 5))
        made.wait(lambda: len(ran) > length, lambda: "a chain")  # noqa: B023
    made.close()
    assert made.error is None
