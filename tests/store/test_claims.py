"""Claims: one owner at a time in the usual case, and none for ever."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kregistry.errors import StorageError
from kregistry.store.claims import Claims


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "claims"
    path.mkdir()
    return path


def test_one_owner_at_a_time(directory: Path) -> None:
    first, second = Claims(directory), Claims(directory)
    assert first.acquire("k")
    assert json.loads((directory / "k").read_text()) == {"host": socket.gethostname(), "pid": os.getpid()}
    assert not second.acquire("k")
    assert (directory / "k").exists()
    assert second.acquire("other")
    second.release("other")
    first.release("k")
    assert list(directory.iterdir()) == []
    assert second.acquire("k")


def test_a_claim_is_released_after_an_error(directory: Path) -> None:
    with pytest.raises(RuntimeError), Claims(directory) as claims:
        assert claims.acquire("k")
        raise RuntimeError
    assert list(directory.iterdir()) == []


OWNER = """
import sys
from pathlib import Path
from kregistry.store.claims import Claims
with Claims(Path(sys.argv[1])) as claims:
    print(claims.acquire("k"), flush=True)
    sys.stdin.readline()
"""


def test_a_living_process_keeps_its_claim_and_a_dead_one_loses_it(directory: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "True\n"
        assert not Claims(directory).acquire("k")
        owner.kill()
        owner.wait()
        assert (directory / "k").exists()
        with Claims(directory) as claims:
            assert claims.acquire("k")
    assert list(directory.iterdir()) == []


def leave(directory: Path, *, host: str, pid: int, age: float = 0.0) -> None:
    (directory / "k").write_text(json.dumps({"host": host, "pid": pid}))
    then = time.time() - age
    os.utime(directory / "k", (then, then))


def test_a_claim_of_another_host_lasts_as_long_as_its_lease(directory: Path) -> None:
    leave(directory, host="elsewhere", pid=1, age=50)
    assert not Claims(directory, lease_seconds=60).acquire("k")
    leave(directory, host="elsewhere", pid=1, age=70)
    with Claims(directory, lease_seconds=60) as claims:
        assert claims.acquire("k")
    assert list(directory.iterdir()) == []


def test_the_lease_of_a_living_owner_ends_too(directory: Path) -> None:
    leave(directory, host=socket.gethostname(), pid=os.getpid(), age=70)
    assert Claims(directory, lease_seconds=60).acquire("k")


ODD = [
    "", "{", "null", "[]", "{}", '"x"', "[" * 5000, "9" * 5000, "\0",
    '{"host": 5, "pid": "x"}', '{"host": "h", "pid": -1}', '{"host": "h", "pid": 1e400}', '{"host": "h", "pid": true}',
    f'{{"host": "{socket.gethostname()}", "pid": {1 << 70}}}', f'{{"host": "{socket.gethostname()}", "pid": 0}}',
]  # fmt: skip


@pytest.mark.parametrize("content", ODD)
def test_a_claim_that_is_just_being_written_is_left_alone(directory: Path, content: str) -> None:
    (directory / "k").write_text(content)
    assert not Claims(directory).acquire("k")


@pytest.mark.parametrize("content", ODD)
def test_what_is_no_claim_is_taken_over_after_a_few_seconds(directory: Path, content: str) -> None:
    (directory / "k").write_text(content)
    then = time.time() - 6
    os.utime(directory / "k", (then, then))
    assert Claims(directory).acquire("k")
    assert json.loads((directory / "k").read_text())["pid"] == os.getpid()


KINDS = {
    "directory": lambda path: (path / "x").mkdir(parents=True),
    "fifo": lambda path: os.mkfifo(path),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe"),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("ahead", [0, 10_000_000])
def test_any_kind_of_file_ends_with_its_lease(
    directory: Path, make: Callable[[Path], object], ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if its clock is months ahead: what counts then is how long it has been seen unchanged."""
    make(directory / "k")
    os.utime(directory / "k", (time.time() + ahead,) * 2, follow_symlinks=False)
    claims = Claims(directory)
    assert not claims.acquire("k")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert claims.acquire("k")
    assert [path.name for path in directory.iterdir()] == ["k"]


def test_a_claim_that_is_touched_is_not_old(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claims, start, ahead = Claims(directory), time.monotonic(), time.time() + 10_000_000
    for step in range(5):
        leave(directory, host="elsewhere", pid=1)
        os.utime(directory / "k", (ahead + step,) * 2)
        monkeypatch.setattr(time, "monotonic", lambda step=step: start + 30 * step)
        assert not claims.acquire("k")


def test_only_one_taker_gets_an_expired_claim(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both see that it is expired; the second finds it renamed away."""
    leave(directory, host="elsewhere", pid=1, age=70)
    first, second = Claims(directory), Claims(directory)
    monkeypatch.setattr(second, "_expired", lambda path: True)
    assert first.acquire("k")
    (directory / "k").rename(directory / "aside")
    monkeypatch.setattr(second, "_create", lambda path: False)
    assert not second.acquire("k")


def test_held_claims_are_kept_fresh(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kregistry.store import claims as module

    monkeypatch.setattr(module, "_TOUCH_SECONDS", 0.001)
    with Claims(directory) as claims:
        assert claims.acquire("k")
        os.utime(directory / "k", (0, 0))
        deadline = time.monotonic() + 30
        while (directory / "k").stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.001)


def test_leaving_releases_what_is_still_held(directory: Path) -> None:
    with Claims(directory) as claims:
        assert claims.acquire("k")
    assert list(directory.iterdir()) == []


def test_a_full_disk_is_reported(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(StorageError) as caught:
        Claims(directory).acquire("k")
    assert caught.value.text == "No space left on device"


def test_a_claim_that_another_process_has_just_taken_over_stays_its_own(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both see the old one expire; the second is about to rename what is by now the claim of the first."""
    leave(directory, host="elsewhere", pid=1, age=70)
    first, second = Claims(directory), Claims(directory)

    def expired(path: Path) -> bool:
        found = Claims._expired(second, path)
        assert first.acquire("k")
        return found

    monkeypatch.setattr(second, "_expired", expired)
    assert not second.acquire("k")
    assert [path.name for path in directory.iterdir()] == ["k"]
    first.release("k")
    assert list(directory.iterdir()) == []


def test_a_claim_that_was_taken_over_is_not_released(directory: Path) -> None:
    """By a process that slept for longer than the lease."""
    claims = Claims(directory)
    assert claims.acquire("k")
    (directory / "k").unlink()
    leave(directory, host="elsewhere", pid=1)
    claims.release("k")
    assert (directory / "k").exists()
