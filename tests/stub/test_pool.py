"""The pool: forks of a process that has loaded torch, each with its own home, none left behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kregistry.errors import MissingRequirement, StorageError
from kregistry.stub import pool as module
from kregistry.stub import process as process_module
from kregistry.stub.pool import StubPool, check_stub
from kregistry.stub.process import StubProcess
from kregistry.stub.protocol import ProbeJob
from kregistry.target import TARGETS
from kregistry.toolchain import Toolchain


@pytest.fixture(autouse=True)
def in_minutes() -> Iterator[None]:
    """Whatever waits for ever is an error, not a suite that does not end."""

    def give_up(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(240)  # a machine with other work loads torch slowly
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def started(toolchain: Toolchain, stub_directory: Path) -> Iterator[StubPool]:
    with StubPool(toolchain, TARGETS["h100"], stub_directory) as pool:
        yield pool


def processes_in(directory: Path) -> list[int]:
    """Those that write to a file in a directory, other than this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(str(directory) in str(each.readlink()) for each in (process / "fd").iterdir()):
                found.append(int(process.name))
    return [each for each in found if each != os.getpid()]


def child_in(home: Path) -> int:
    """The child itself, not its keeper."""
    (found,) = (each for each in processes_in(home) if os.getsid(each) == each)
    return found


def test_children_are_ready_and_leave_nothing_behind(started: StubPool) -> None:
    homes = started.directory
    with started.start("0") as first, started.start("1") as second:
        assert (first.home, second.home) == (homes / "0", homes / "1")
        assert child_in(homes / "0") != child_in(homes / "1")
    started.__exit__()
    assert processes_in(homes) == []


def test_a_child_that_is_killed_says_so_and_another_one_starts(started: StubPool) -> None:
    with started.start("0") as child:
        os.kill(child_in(started.directory / "0"), signal.SIGTERM)
        assert child.ask(ProbeJob("", {}, ())) is None
        assert not child.alive
        assert child.death() == child.death() == "crashes: the process died of SIGTERM"
    with started.start("1"):
        pass


def test_what_hangs_is_killed_and_says_so(started: StubPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that stops in the middle of a job, and a fork server that makes no process any more."""
    with started.start("0") as child:
        os.kill(child_in(started.directory / "0"), signal.SIGSTOP)
        monkeypatch.setattr(process_module, "SILENCE_SECONDS", 0.2)
        assert child.ask(ProbeJob("", {}, ())) is None
        assert child.death() == "hangs: nothing was heard of the process for 0 s, and it was killed"
    os.kill(started._server.pid, signal.SIGSTOP)
    monkeypatch.setattr(module, "_DEATH_SECONDS", 0.2)
    with pytest.raises(MissingRequirement, match=r"do not load on the stub GPU \(hangs: nothing was heard"):
        started.start("1")
    os.kill(started._server.pid, signal.SIGCONT)


def test_after_stop_none_starts_but_those_that_did_go_on(started: StubPool) -> None:
    with started.start("0") as child:
        started.stop()
        with pytest.raises(MissingRequirement, match="the dry run was stopped"):
            started.start("1")
        assert child.alive and child_in(started.directory / "0")
    started.__exit__()
    assert processes_in(started.directory) == []


def test_deep_gemm_that_does_not_load(
    toolchain: Toolchain, stub_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep_gemm.py").write_text("raise ImportError('undefined symbol: x')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    starting = StubPool(toolchain, TARGETS["h100"], stub_directory)
    with starting as pool, pytest.raises(MissingRequirement) as caught, pool.start("0"):
        pass
    assert processes_in(starting.directory) == []
    assert caught.value.message.startswith(
        "torch and DeepGEMM do not load on the stub GPU (the process ended with exit code 1: ImportError: undefined "
        "symbol: x):\nTraceback (most recent call last):\n"
    )


def test_a_closed_child_is_not_killed_again(started: StubPool) -> None:
    """Its process id may be that of another process by then."""
    with started.start("0") as child:
        pass
    with started.start("1"):
        child._pid = child_in(started.directory / "1") if child._pid is not None else None
        child.kill()
        child.close()
        assert child_in(started.directory / "1")


def test_an_interrupt_while_a_child_loads_leaves_nothing_behind(
    started: StubPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(process: StubProcess) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(StubProcess, "_receive", interrupt)
        with pytest.raises(KeyboardInterrupt), started.start("0"):
            pass
    started.__exit__()
    assert processes_in(started.directory) == []


def test_an_interrupt_while_a_pool_closes_leaves_nothing_behind(
    toolchain: Toolchain, stub_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = StubPool(toolchain, TARGETS["h100"], stub_directory)
    with pytest.raises(KeyboardInterrupt), pool:
        wait = pool._server.wait

        def interrupt(timeout: float | None = None) -> int:
            monkeypatch.setattr(pool._server, "wait", wait)
            raise KeyboardInterrupt

        monkeypatch.setattr(pool._server, "wait", interrupt)
    assert pool._server.returncode is not None and not pool.directory.exists()


def test_an_error_beside_a_child_that_nobody_closes(toolchain: Toolchain, stub_directory: Path) -> None:
    pool = StubPool(toolchain, TARGETS["h100"], stub_directory)
    with pytest.raises(KeyError), pool:
        child = pool.start("0")
        raise KeyError
    child.close()


def test_a_fork_server_that_dies(started: StubPool) -> None:
    with started.start("0"):
        (server,) = (
            each for each in processes_in(started.directory) if each not in processes_in(started.directory / "0")
        )
        os.kill(server, signal.SIGKILL)
        with pytest.raises(MissingRequirement, match="crashes: the process died of SIGKILL"):
            started.start("1")


def test_a_child_without_an_order(started: StubPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and only this one fails."""
    order = Path.write_text
    monkeypatch.setattr(Path, "write_text", lambda path, text: order(path, text[:9]))
    with pytest.raises(MissingRequirement, match=r"exit code 1: json\.decoder\.JSONDecodeError"), started.start("0"):
        pass
    monkeypatch.undo()
    with started.start("1"):
        pass


def test_a_home_that_cannot_be_made(started: StubPool) -> None:
    (started.directory / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        started.start("file/0")
    with started.start("0"):
        pass


def test_a_child_that_does_not_start_is_an_environment_problem(
    toolchain: Toolchain, stub_directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A module search path without torch, as in a broken environment."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(Path(module.__file__).parents[2])])
    with pytest.raises(MissingRequirement) as caught:
        check_stub(toolchain, TARGETS["h100"], stub_directory)
    assert caught.value.message.startswith(
        "torch and DeepGEMM do not load on the stub GPU (the process ended with exit code 1: ModuleNotFoundError: No "
        "module named "
    )
    assert caught.value.hint == "kregistry doctor names what is missing"


def test_a_pool_can_be_entered_again(toolchain: Toolchain, stub_directory: Path) -> None:
    pool = StubPool(toolchain, TARGETS["h100"], stub_directory)
    for _ in range(2):
        with pool, pool.start("0") as process:
            assert process.alive and process.home.is_dir()
        assert not pool.directory.exists()
