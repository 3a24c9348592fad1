"""Children: forks of a process that has loaded torch, each with its own home, none left behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kregistry.errors import MissingRequirement, StorageError
from kregistry.kernel import Kernel
from kregistry.stub.library import compile_stub
from kregistry.stub.pool import Children
from kregistry.stub.process import Child
from kregistry.target import TARGETS
from kregistry.toolchain import Toolchain


def no_cubin(home: Path, cubin: Path) -> Kernel:
    raise AssertionError(cubin)


@pytest.fixture(autouse=True)
def in_a_minute() -> Iterator[None]:
    """Whatever waits for ever is an error, not a suite that does not end."""

    def give_up(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def started(toolchain: Toolchain, stub_directory: Path, tmp_path: Path) -> Iterator[Children]:
    library = compile_stub(toolchain, stub_directory)
    with Children(TARGETS["h100"], toolchain, library, tmp_path / "homes", no_cubin) as children:
        yield children


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


def test_children_are_ready_and_leave_nothing_behind(started: Children, tmp_path: Path) -> None:
    homes = tmp_path / "homes"
    with started.start("0") as first, started.start("1") as second:
        assert (first.home, second.home) == (homes / "0", homes / "1")
        assert child_in(homes / "0") != child_in(homes / "1")
    started.__exit__()
    assert processes_in(homes) == []


def test_a_child_that_is_killed_says_so_and_another_one_starts(started: Children, tmp_path: Path) -> None:
    with started.start("0") as child:
        os.kill(child_in(tmp_path / "homes" / "0"), signal.SIGTERM)
        assert child.ask({"job": 0}) is None
        assert not child.alive
        assert child.death() == child.death() == "crashes: the process died of SIGTERM"
    with started.start("1"):
        pass


def test_after_stop_none_starts_but_those_that_did_go_on(started: Children, tmp_path: Path) -> None:
    with started.start("0") as child:
        started.stop()
        with pytest.raises(MissingRequirement, match="the dry run was stopped"):
            started.start("1")
        assert child.alive and child_in(tmp_path / "homes" / "0")
    started.__exit__()
    assert processes_in(tmp_path / "homes") == []


def test_deep_gemm_that_does_not_load(
    toolchain: Toolchain, stub_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep_gemm.py").write_text("raise ImportError('undefined symbol: x')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    library = compile_stub(toolchain, stub_directory)
    starting = Children(TARGETS["h100"], toolchain, library, tmp_path / "homes", no_cubin)
    with starting as children, pytest.raises(MissingRequirement) as caught, children.start("0"):
        pass
    assert processes_in(tmp_path / "homes") == []
    assert caught.value.message.startswith(
        "torch and DeepGEMM do not load on the stub GPU (the process ended with exit code 1: ImportError: undefined "
        "symbol: x):\nTraceback (most recent call last):\n"
    )


def test_a_closed_child_is_not_killed_again(started: Children, tmp_path: Path) -> None:
    """Its process id may be that of another process by then."""
    with started.start("0") as child:
        pass
    with started.start("1"):
        child._pid = child_in(tmp_path / "homes" / "1") if child._pid is not None else None
        child.kill()
        child.close()
        assert child_in(tmp_path / "homes" / "1")


def test_an_interrupt_while_a_child_loads_leaves_nothing_behind(
    started: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(child: Child) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Child, "_receive", interrupt)
        with pytest.raises(KeyboardInterrupt), started.start("0"):
            pass
    started.__exit__()
    assert processes_in(tmp_path / "homes") == []


def test_an_error_beside_a_child_that_nobody_closes(toolchain: Toolchain, stub_directory: Path, tmp_path: Path) -> None:
    library = compile_stub(toolchain, stub_directory)
    children = Children(TARGETS["h100"], toolchain, library, tmp_path / "homes", no_cubin)
    with pytest.raises(KeyError), children:
        child = children.start("0")
        raise KeyError
    child.close()


def test_a_fork_server_that_dies(started: Children, tmp_path: Path) -> None:
    with started.start("0"):
        (server,) = (
            each for each in processes_in(tmp_path / "homes") if each not in processes_in(tmp_path / "homes" / "0")
        )
        os.kill(server, signal.SIGKILL)
        with pytest.raises(MissingRequirement, match="crashes: the process died of SIGKILL"):
            started.start("1")


def test_a_child_without_an_order(started: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and only this one fails."""
    order = Path.write_text
    monkeypatch.setattr(Path, "write_text", lambda path, text: order(path, text[:9]))
    with pytest.raises(MissingRequirement, match=r"exit code 1: json\.decoder\.JSONDecodeError"), started.start("0"):
        pass
    monkeypatch.undo()
    with started.start("1"):
        pass


def test_a_home_that_cannot_be_made(started: Children, tmp_path: Path) -> None:
    (tmp_path / "homes" / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        started.start("file/0")
    with started.start("0"):
        pass
