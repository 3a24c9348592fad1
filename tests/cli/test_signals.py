"""SIGTERM and SIGHUP end a command like Ctrl-C: 128 plus the signal, nothing left, and `record` writes what it has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kregistry.cli.signals import Signals, Terminated

SCRIPT = str(Path(sys.executable).with_name("kregistry"))


def test_the_first_signal_is_an_interrupt_and_the_second_is_ignored() -> None:
    signals = Signals()
    with signals.as_interrupts():
        with pytest.raises(Terminated) as caught:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
    assert (caught.value.number, signals.received) == (signal.SIGTERM, signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals().as_interrupts():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


#: Stands in for DeepGEMM: a command that makes no call, and goes on for ever.
COMMAND = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(1000)"


def start_record(tmp_path: Path) -> tuple[subprocess.Popen[str], int]:
    """A recorded command that runs, and its process id."""
    ready, temporary = tmp_path / "ready", tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [SCRIPT, "record", "-o", tmp_path / "out.yaml", "--", sys.executable, "-c", COMMAND, ready],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while not (ready.exists() and ready.read_text()):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    return process, int(ready.read_text())


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.stub
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_record_ends_its_command(number: int, code: int, tmp_path: Path) -> None:
    process, child = start_record(tmp_path)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in err, err
    assert has_ended(child)
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.stub
def test_after_sigkill_the_command_ends_and_the_next_run_removes_what_is_left(tmp_path: Path) -> None:
    process, child = start_record(tmp_path)
    process.kill()
    process.communicate()
    end = time.monotonic() + 60
    while not has_ended(child):
        assert time.monotonic() < end
        time.sleep(0.02)
    temporary = tmp_path / "tmp"
    assert len(list(temporary.iterdir())) == 1
    again = [SCRIPT, "record", "-o", tmp_path / "out.yaml", "--", sys.executable, "-c", "pass"]
    done = subprocess.run(again, env={**os.environ, "TMPDIR": str(temporary)}, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert list(temporary.iterdir()) == []
