"""Events: in order, in a thread of their own; a listener that fails or is slow is named once, and harms nobody."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from distributions import Install
from events import EventLog

from kregistry import Registry, hookimpl
from kregistry.entry_points import Provider
from kregistry.errors import PluginError
from kregistry.event_bus import EventBus
from kregistry.event_delivery import Delivery

BAD = Provider("bad", "bad-dist", "0.3")
#: For listeners that never return in time: as short as a test can wait.
HASTY = 0.2


class Calls:
    """A listener that does something at each start of a warm-up."""

    def __init__(self, action: Callable[[int], object]) -> None:
        self.action = action
        self.heard: list[int] = []

    @hookimpl
    def kregistry_warmup_started(self, launches: int) -> None:
        self.heard.append(launches)
        self.action(launches)

    @hookimpl
    def kregistry_sealed(self) -> None:
        self.heard.append(-1)


class Stuck(Calls):
    """One whose call returns only when it is released."""

    def __init__(self, released: threading.Event) -> None:
        super().__init__(self._wait)
        self.entered = threading.Event()
        self._released = released

    def _wait(self, _: int) -> None:
        self.entered.set()
        self._released.wait()


def send(bus: EventBus, count: int) -> None:
    for number in range(count):
        bus.hook.kregistry_warmup_started(launches=number)


def numbers(log: EventLog) -> list[int]:
    return [arguments["launches"] for _, arguments in log.calls]


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, "kregistry.events")
    return lambda: [record.message for record in caplog.records if record.name == "kregistry.events"]


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Ends the listeners that wait for it when the test has ended."""
    event = threading.Event()
    yield event
    event.set()


# ---- delivery ------------------------------------------------------------------------------------------------


def test_events_arrive_in_order_and_one_at_a_time() -> None:
    inside, most = [0], [0]

    def count(_: int) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        inside[0] -= 1

    bus, log, listener = EventBus(), EventLog(), Calls(count)
    for each in (log, listener):
        bus.listen(each)
    threads = [threading.Thread(target=send, args=(bus, 50)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    send(bus, 100)
    bus.flush()
    assert numbers(log) == listener.heard and len(listener.heard) == 500
    assert listener.heard[-100:] == list(range(100))
    assert most == [1]


def test_no_listener_runs_in_the_thread_that_an_event_comes_from() -> None:
    threads = []
    bus = EventBus()
    bus.listen(Calls(lambda _: threads.append(threading.current_thread())))
    send(bus, 1)
    bus.flush()
    send(bus, 1)
    bus.flush()
    assert len(set(threads)) == 1 and threading.current_thread() not in threads
    assert threads[0].daemon


def test_a_listener_may_send_events_and_flush() -> None:
    bus, log = EventBus(Delivery(capacity=1)), EventLog()

    def seal(_: int) -> None:
        bus.hook.kregistry_sealed(kernel_types=())
        bus.hook.kregistry_sealed(kernel_types=())
        bus.flush()

    bus.listen(Calls(seal))
    bus.listen(log)
    send(bus, 1)
    bus.flush()
    assert log.names() == ["kregistry_warmup_started", "kregistry_sealed", "kregistry_sealed"]


def test_an_event_with_other_arguments_is_a_bug_of_the_sender() -> None:
    with pytest.raises(TypeError, match=r"kregistry_sealed\(\) takes \['kernel_types'\], got \['types'\]"):
        EventBus().hook.kregistry_sealed(types=())


def test_what_was_sent_before_the_process_ends_is_delivered() -> None:
    code = """
import time, kregistry
class Slow:
    @kregistry.hookimpl
    def kregistry_sealed(self, kernel_types):
        time.sleep(0.05)
        print(kernel_types, flush=True)
registry = kregistry.Registry(load_entry_points=False)
registry.listen(Slow())
for name in "abc":
    registry.hook.kregistry_sealed(kernel_types=name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["a", "b", "c"], "")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_delivers_its_own_events(released: threading.Event) -> None:
    """Its parent's thread is not in it, nor is what the parent still has to deliver its business."""
    read, write = os.pipe()
    bus = EventBus()
    bus.listen(Calls(lambda launches: os.write(write, b"%d" % launches) if launches > 2 else released.wait()))
    send(bus, 3)
    child = os.fork()
    if child == 0:
        bus.hook.kregistry_warmup_started(launches=7)
        bus.flush()
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 10) == b"7"
    os.close(read)
    os.close(write)


# ---- listeners that misbehave --------------------------------------------------------------------------------


def _raise(_: int) -> NoReturn:
    raise RuntimeError("bug of the\nlistener")


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError


def _raise_unspeakable(_: int) -> NoReturn:
    raise Unspeakable


class Unlocated(Exception):
    """Neither its notes nor its traceback can be read."""

    @property
    def __notes__(self) -> NoReturn:
        raise RuntimeError

    __traceback__ = __notes__  # type: ignore[assignment]


def _raise_without_module(_: int) -> NoReturn:
    class WithoutModule(type):
        @property
        def __module__(cls) -> NoReturn:  # type: ignore[override]
            raise RuntimeError

    class Unnamed(Exception, metaclass=WithoutModule):
        pass

    raise Unnamed("x")


def _throw(error: BaseException) -> Callable[[int], object]:
    def throw(_: int) -> NoReturn:
        raise error

    return throw


FAILURES: dict[str, tuple[Callable[[int], object], str]] = {
    "raises": (_raise, "RuntimeError: bug of the listener"),
    "exits": (lambda _: sys.exit(3), "SystemExit: 3"),
    "interrupts": (lambda _: (_ for _ in ()).throw(KeyboardInterrupt()), "KeyboardInterrupt"),
    "raises what cannot be shown": (_raise_unspeakable, "test_event_bus.Unspeakable: <exception str() failed>"),
    "raises an odd syntax error": (_throw(SyntaxError("x", ("f", "a", "b", 3))), "SyntaxError: "),  # type: ignore[arg-type]
    "raises what has no module": (_raise_without_module, "Unnamed: x"),
    "raises an exit that cannot be shown": (_throw(type("Odd", (BaseException,), {"__str__": sys.exit})()), "Odd: "),
}


@pytest.mark.parametrize(("action", "words"), FAILURES.values(), ids=FAILURES.keys())
def test_a_listener_that_fails_is_named_once_and_silenced(
    action: Callable[[int], object], words: str, warnings: Callable[[], list[str]]
) -> None:
    bus, bad, log = EventBus(), Calls(action), EventLog()
    bus.listen(bad, BAD)
    bus.listen(log)
    send(bus, 3)
    bus.hook.kregistry_sealed(kernel_types=())
    bus.flush()
    assert bad.heard == [0, -1], "the hook that failed is not called again, the others are"
    assert log.names() == [*["kregistry_warmup_started"] * 3, "kregistry_sealed"]
    (warning,) = warnings()
    assert warning.startswith("plugin bad (bad-dist 0.3): kregistry_warmup_started() raised ")
    assert words.rpartition(".")[2] in warning
    assert warning.endswith("; it is not called again") and f"{__file__}:" in warning


def test_an_error_whose_notes_and_traceback_cannot_be_read(warnings: Callable[[], list[str]]) -> None:
    bus, log = EventBus(), EventLog()
    bus.listen(Calls(_throw(Unlocated("x"))), BAD)
    bus.listen(log)
    send(bus, 2)
    bus.flush()
    assert numbers(log) == [0, 1]
    (warning,) = warnings()
    assert warning.endswith("kregistry_warmup_started() raised Unlocated: x (?); it is not called again")


@pytest.mark.parametrize("raised", [RuntimeError, SystemExit])
def test_a_log_handler_that_raises_ends_neither_delivery_nor_flush(
    raised: type[BaseException], released: threading.Event
) -> None:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> NoReturn:
            raise raised

    logger, handler = logging.getLogger("kregistry.events"), Handler()
    logger.addHandler(handler)
    try:
        bus, log, failing = EventBus(Delivery(patience=HASTY)), EventLog(), Calls(_raise)
        stuck = Stuck(released)
        bus.listen(failing)
        bus.listen(stuck)
        bus.listen(log)
        send(bus, 2)
        assert stuck.entered.wait(200)
        bus.flush()
    finally:
        logger.removeHandler(handler)
    assert (failing.heard, numbers(log)) == ([0], [0, 1])


# ---- a process that can start no thread ----------------------------------------------------------------------


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def start(_: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        yield


@pytest.mark.usefixtures("no_threads")
def test_without_threads_a_flush_delivers_the_events_itself() -> None:
    bus, log = EventBus(), EventLog()

    def nested(_: int) -> None:
        bus.hook.kregistry_sealed(kernel_types=())
        bus.flush()

    bus.listen(log)
    bus.listen(Calls(nested))
    send(bus, 2)
    assert log.calls == []
    bus.flush()
    assert sorted(log.names()) == [*["kregistry_sealed"] * 2, *["kregistry_warmup_started"] * 2]


@pytest.mark.usefixtures("no_threads")
def test_without_threads_a_sender_delivers_what_a_full_queue_has_no_room_for(
    warnings: Callable[[], list[str]],
) -> None:
    bus, log = EventBus(Delivery(capacity=2)), EventLog()
    bus.listen(log)
    send(bus, 5)
    bus.flush()
    assert numbers(log) == list(range(5)) and warnings() == []


@pytest.mark.usefixtures("no_threads")
def test_without_threads_a_slow_listener_is_named_all_the_same(warnings: Callable[[], list[str]]) -> None:
    bus, log = EventBus(Delivery(patience=HASTY)), EventLog()
    slow = Calls(lambda _: threading.Event().wait(HASTY))
    bus.listen(slow, BAD)
    bus.listen(log)
    send(bus, 3)
    bus.flush()
    assert (slow.heard, numbers(log)) == ([0], [0, 1, 2])
    (warning,) = warnings()
    assert warning.startswith("plugin bad (bad-dist 0.3): kregistry_warmup_started() is too slow (")


def test_when_threads_can_be_started_again_the_next_event_starts_one(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    bus = EventBus()
    bus.listen(Calls(lambda _: threads.append(threading.current_thread())))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("no thread")))
        send(bus, 1)
    send(bus, 1)
    bus.flush()
    assert len(threads) == 2 and threading.current_thread() not in threads


STUCK = """
import sys, threading, time, kregistry
from kregistry.event_delivery import Delivery
def fail(thread):
    raise RuntimeError("can't create new thread at interpreter shutdown")
class Stuck:
    @kregistry.hookimpl
    def kregistry_sealed(self):
        running.set()
        time.sleep(60)
class Heard:
    @kregistry.hookimpl
    def kregistry_sealed(self, kernel_types):
        print(kernel_types, flush=True)
running = threading.Event()
registry = kregistry.Registry(load_entry_points=False)
registry.events._delivery = Delivery(patience=float(sys.argv[1]))
registry.listen(Stuck())
registry.listen(Heard())
for name in "ab":
    registry.hook.kregistry_sealed(kernel_types=name)
running.wait()
"""


def waits(pid: int) -> bool:
    """Whether the main thread of a process sleeps, and has not run for a moment."""

    def state() -> tuple[str, ...]:
        fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], *fields[11:13]  # S: sleeping; CPU time

    before = state()
    threading.Event().wait(HASTY)
    return before[0] == "S" and state() == before


def test_at_exit_a_stuck_listener_is_left_behind_where_no_thread_can_be_started() -> None:
    code = STUCK + "threading.Thread.start = fail"
    done = subprocess.run([sys.executable, "-c", code, "0.2"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["a", "b"]
    assert "plugin Stuck (this process): kregistry_sealed() is too slow (" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flushed", [False, True], ids=["at exit", "before"])
def test_an_interrupt_ends_the_wait_at_exit(flushed: bool) -> None:
    before = "import contextlib\nwith contextlib.suppress(KeyboardInterrupt): registry.events.flush()\n"
    code = STUCK + (before if flushed else "import atexit\natexit.register(print, 'ready', flush=True)")
    if flushed:
        code = code.replace("running.wait()", "running.wait()\nprint('ready', flush=True)", 1)
    # A shell starts what runs in the background deaf to SIGINT, and children inherit that.
    code = f"import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{code}"
    with subprocess.Popen(
        [sys.executable, "-c", code, "600"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        while not waits(child.pid):  # for its stuck listener
            threading.Event().wait(0.01)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    assert errors == ""


def test_a_listener_that_does_not_return_is_left_behind(
    released: threading.Event, warnings: Callable[[], list[str]]
) -> None:
    bus, log, stuck = EventBus(Delivery(patience=HASTY)), EventLog(), Stuck(released)
    bus.listen(stuck, BAD)
    bus.listen(log)
    send(bus, 3)
    assert stuck.entered.wait(200)
    bus.flush()
    assert (stuck.heard, numbers(log)) == ([0], [0, 1, 2])
    (warning,) = warnings()
    assert warning.startswith("plugin bad (bad-dist 0.3): kregistry_warmup_started() is too slow (")
    assert warning.endswith("; the plugin receives no further event")
    released.set()
    bus.hook.kregistry_sealed(kernel_types=())
    bus.flush()
    assert stuck.heard == [0] and log.names()[-1] == "kregistry_sealed" and len(warnings()) == 1


def test_slow_listeners_are_named_one_after_the_other(
    released: threading.Event, warnings: Callable[[], list[str]]
) -> None:
    bus, log, first = EventBus(Delivery(patience=HASTY)), EventLog(), Stuck(released)
    bus.listen(first, Provider("one", "d", "1"))
    bus.listen(Stuck(released), Provider("two", "d", "1"))
    bus.listen(log)
    send(bus, 2)
    assert first.entered.wait(200)
    bus.flush()
    assert numbers(log) == [0, 1]
    assert [warning.partition(":")[0] for warning in warnings()] == ["plugin one (d 1)", "plugin two (d 1)"]


def test_a_full_queue_holds_the_sender_up_only_until_the_slow_listener_is_silenced(
    released: threading.Event, warnings: Callable[[], list[str]]
) -> None:
    bus, log, stuck = EventBus(Delivery(capacity=4, patience=HASTY)), EventLog(), Stuck(released)
    bus.listen(log)
    bus.listen(stuck, BAD)
    send(bus, 1)
    assert stuck.entered.wait(200)
    send(bus, 99)
    assert len(warnings()) == 1
    bus.flush()
    assert (stuck.heard, numbers(log)) == ([0], [0, *range(99)])


def test_of_two_listeners_the_slow_one_is_silenced(warnings: Callable[[], list[str]]) -> None:
    """Each of its calls is short; it is the sum that holds up the others."""
    bus, log = EventBus(Delivery(capacity=4, patience=HASTY)), EventLog()
    slow = Calls(lambda _: threading.Event().wait(0.02))
    bus.listen(log)
    bus.listen(slow, BAD)
    send(bus, 200)
    bus.flush()
    assert numbers(log) == list(range(200))
    assert 0 < len(slow.heard) < 200
    (warning,) = warnings()
    assert warning.startswith("plugin bad (bad-dist 0.3): kregistry_warmup_started() is too slow")


def test_a_listener_that_listens_twice_is_refused() -> None:
    bus, log = EventBus(), EventLog()
    bus.listen(log)
    with pytest.raises(PluginError, match=r"plugin EventLog \(this process\): is already registered"):
        bus.listen(log)
    bus.listen(EventLog())


# ---- listeners that are refused ------------------------------------------------------------------------------


class Async:
    @hookimpl
    async def kregistry_sealed(self) -> None: ...


class AsyncGenerator:
    @hookimpl
    async def kregistry_sealed(self) -> AsyncIterator[None]:
        yield


class Generator:
    @hookimpl
    def kregistry_sealed(self) -> Iterator[None]:
        yield


class Wrapper:
    @hookimpl(wrapper=True)  # type: ignore[call-arg]
    def kregistry_sealed(self) -> Iterator[None]:
        yield


class OldWrapper:
    @hookimpl(hookwrapper=True)  # type: ignore[call-arg]
    def kregistry_sealed(self) -> Iterator[None]:
        yield


class KeywordOnly:
    @hookimpl
    def kregistry_sealed(self, *, kernel_types: object) -> None: ...


class PositionalOnly:
    @hookimpl
    def kregistry_sealed(self, kernel_types: object, /) -> None: ...


class Unlisted:
    def __dir__(self) -> NoReturn:
        raise RuntimeError("no names")

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(name)


REFUSED: dict[str, tuple[object, str]] = {
    "Async": (Async(), "kregistry_sealed() is an async function, which would never run: use a plain function"),
    "AsyncGenerator": (AsyncGenerator(), "kregistry_sealed() is an async function, which would never run"),
    "Generator": (Generator(), "kregistry_sealed() is a generator function, which would never run"),
    "Wrapper": (Wrapper(), "kregistry_sealed() is a wrapper of hooks, but no hook of kregistry can be wrapped"),
    "OldWrapper": (OldWrapper(), "kregistry_sealed() is a wrapper of hooks, but no hook of kregistry can be wrapped"),
    "KeywordOnly": (KeywordOnly(), "kregistry_sealed() has the keyword-only parameter 'kernel_types'"),
    "PositionalOnly": (PositionalOnly(), "kregistry_sealed() has the positional-only parameter 'kernel_types'"),
    "Unlisted": (Unlisted(), "its hooks cannot be read: RuntimeError: no names"),
    "EventLog": (EventLog, "is no module or object with hooks\nhint: give an instance of the class"),
    "NoneType": (None, "is no module or object with hooks"),
}


@pytest.mark.parametrize(("name", "refused"), REFUSED.items(), ids=REFUSED.keys())
def test_a_listener_that_could_not_be_called_is_refused(name: str, refused: tuple[object, str]) -> None:
    listener, text = refused
    registry = Registry(load_entry_points=False)
    for add in (EventBus().listen, registry.listen, registry.register):
        with pytest.raises(PluginError) as caught:
            add(listener)
        assert str(caught.value).startswith(f"plugin {name} (this process): {text}")
    assert registry.providers == ()


@pytest.mark.parametrize("listener", [3, "text", object()])
def test_a_listener_without_a_hook_is_refused(listener: object) -> None:
    text = rf"plugin {type(listener).__name__} \(this process\): has no function that is marked with kregistry.hookimpl"
    with pytest.raises(PluginError, match=text):
        EventBus().listen(listener)


@pytest.mark.parametrize("equal", [lambda *_: True, lambda *_: 1 / 0], ids=["equal", "cannot be compared"])
def test_listeners_are_distinguished_by_identity(equal: Callable[..., bool]) -> None:
    class Equal(Calls):
        __eq__ = equal
        __hash__ = None  # type: ignore[assignment]

    bus = EventBus()
    both = [Equal(lambda _: None) for _ in range(2)]
    for listener in both:
        bus.listen(listener)
    with pytest.raises(PluginError, match="is already registered"):
        bus.listen(both[0])
    send(bus, 1)
    bus.flush()
    bus.forget(both[0])
    send(bus, 1)
    bus.flush()
    assert [each.heard for each in both] == [[0], [0, 0]]


# ---- what plugins print --------------------------------------------------------------------------------------

PRINTS = """
import sys
print("loading")
from kregistry import hookimpl
@hookimpl
def kregistry_kernel_types():
    print("offering")
    return []
@hookimpl
def kregistry_plan_started():
    print("listening")
"""


def test_what_a_plugin_prints_is_no_data_of_a_command(install: Install, kregistry: Callable[..., Any]) -> None:
    install("prints", "1.0", PRINTS, plugin="prints")
    result = kregistry("list", "--json")
    assert result.code == 0 and result.json["broken"] == []
    assert result.err.splitlines() == ["loading", "offering"]


@pytest.mark.stub
def test_what_a_listener_prints_is_no_data_of_a_command(
    install: Install, kregistry: Callable[..., Any], tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kregistry.plan import planner

    monkeypatch.setattr(planner.DryRun, "run", lambda *_: ())
    install("prints", "1.0", PRINTS, plugin="prints")
    result = kregistry("plan", tiny_file, "--json")
    assert result.code == 0 and result.json["entries"] == []
    assert result.err.splitlines() == ["loading", "offering", "listening"]


def test_a_servers_output_is_never_redirected(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("prints", "1.0", PRINTS, plugin="prints")
    stdout = sys.stdout
    registry = Registry()
    registry.hook.kregistry_plan_started(entries=1, target="h100")
    registry.events.flush()
    assert sys.stdout is stdout
    assert capsys.readouterr() == ("loading\noffering\nlistening\n", "")


LATE = """
import atexit, sys
from kregistry import Registry, hookimpl

class Late:
    @hookimpl
    def kregistry_warmup_started(self, launches):
        print("heard", launches, flush=True)

registry = Registry(load_entry_points=False)
registry.listen(Late())
atexit.register(lambda: registry.hook.kregistry_warmup_started(launches=2))
registry.hook.kregistry_warmup_started(launches=1)
"""


def test_an_event_of_a_function_that_runs_late_at_exit_is_delivered() -> None:
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "heard 1\nheard 2\n", "")


def test_events_that_are_held_reach_the_listeners_to_come_in_order() -> None:
    """Those of other threads too, which send while the first ones are passed on."""
    bus, log = EventBus(), EventLog()
    bus.release()  # nothing is held
    bus.hold()
    for number in range(50):
        bus.hook.kregistry_warmup_started(launches=number)
    bus.listen(log)
    bus.flush()
    assert log.calls == []
    last = threading.Thread(target=bus.hook.kregistry_warmup_started, kwargs={"launches": 50})
    bus.hold()  # again: what is held stays
    bus.release()
    last.start()
    last.join()
    bus.flush()
    assert [arguments["launches"] for _, arguments in log.calls] == [*range(51)]
