"""Build processes: how one ends, and how others notice."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kregistry.integrations import build_ahead
from kregistry.integrations.ahead import Ahead
from kregistry.integrations.build_ahead import SaysThatItWaits, start_build, wait_for_build
from kregistry.integrations.start_folder import StartFolder, Status
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.target import get_target


@pytest.fixture(autouse=True)
def reaped() -> Iterator[None]:
    """A server waits for none of its build processes and keeps them until its end; this process would complain then."""
    yield
    for process in build_ahead._running:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)
    build_ahead._running.clear()


@pytest.fixture
def start(tmp_path: Path) -> StartFolder:
    return StartFolder.create(Store(tmp_path))


def test_a_build_that_is_done(start: StartFolder) -> None:
    done = Status("done", os.getpid(), kernels=3)
    start.write_status(done)
    assert wait_for_build(start) == done


def test_a_build_that_takes_too_long_is_not_waited_for(start: StartFolder) -> None:
    start.write_status(Status("planning", os.getpid()))
    assert wait_for_build(start, limit_seconds=0.05).state == "failed"
    assert wait_for_build(start, stopped=lambda: True).state == "failed"


@pytest.mark.parametrize("code", ["import os; os.kill(os.getpid(), 9)", "raise SystemExit(1)"])
def test_a_build_that_dies_is_noticed_though_nobody_reaps_it(
    start: StartFolder, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Also if it ends before it can write a status, e.g. since it cannot be imported."""
    monkeypatch.setattr(build_ahead, "_CODE", code)
    start_build(start, {})
    status = wait_for_build(start, limit_seconds=60)
    assert status.state == "failed" and "has died" in status.text and str(start.log) in status.text


def test_the_engine_logs_what_its_build_could_not_use(
    start: StartFolder, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """Operators read the log of the engine, not that of the build process."""
    start.write_manifest("version: 1\ntarget: h100\nmodels: {m: {kernels: []}}\n", get_target("h100"))
    start.write_status(Status("done", os.getpid(), unused=("KREGISTRY_MANIFEST is not used: x.yaml: no such file",)))
    Ahead(start, registry, Store(start.directory)).wait()
    further, _ = start.following()
    further.write_manifest(start.manifest.read_text(), get_target("h100"))
    further.write_status(Status("done", os.getpid(), unused=("the same again",)))
    Ahead(further, registry, Store(start.directory)).wait()
    [line] = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert line == "kregistry: KREGISTRY_MANIFEST is not used: x.yaml: no such file"


def test_a_build_whose_folder_is_removed(start: StartFolder) -> None:
    assert "is gone" in wait_for_build(start).text


def test_the_environment_of_the_engine_reaches_the_build(start: StartFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_ahead, "_CODE", "import os; print(os.environ['DG_JIT_CACHE_DIR'], flush=True)")
    start_build(start, {"DG_JIT_CACHE_DIR": "/a cache"})
    wait_for_build(start, limit_seconds=60)
    assert start.log.read_text() == "/a cache\n"


def test_a_build_ends_with_the_process_that_has_started_it(start: StartFolder) -> None:
    """However that was: here it is killed."""
    script = f"""
import sys, time
from pathlib import Path
from kregistry.integrations import build_ahead
from kregistry.integrations.start_folder import StartFolder
build_ahead._CODE = '''
import subprocess, threading, time
from kregistry.integrations.build_process import _end_with_the_engine
compiler = subprocess.Popen(["sleep", "60"], start_new_session=True)
threading.Thread(target=_end_with_the_engine, daemon=True).start()
print(compiler.pid, flush=True)
time.sleep(60)
'''
build_ahead.start_build(StartFolder(Path({str(start.directory)!r})), {{}})
time.sleep(60)
"""
    engine = subprocess.Popen([sys.executable, "-c", script])
    try:
        while not start.log.exists() or not start.log.read_text().endswith("\n"):
            assert engine.poll() is None
            time.sleep(0.02)
        assert build_ahead._alive(start.read_pid())
    finally:
        engine.send_signal(signal.SIGKILL)
        engine.wait()
    assert "has died" in wait_for_build(start, limit_seconds=60).text
    while build_ahead._alive(int(start.log.read_text())):  # nor do its compilers go on; a signal may take a moment
        time.sleep(0.01)


def test_a_long_wait_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(build_ahead, "_SAY_EVERY", 0.01)
    with SaysThatItWaits("a thing"):
        while "waiting for a thing" not in caplog.text:
            time.sleep(0.01)


def test_nobody_waits_for_a_process_that_died_before_it_started_the_build(start: StartFolder) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    start.write_status(Status("starting", gone.pid))
    assert f"process {gone.pid} has died" in wait_for_build(start, limit_seconds=60).text


@pytest.mark.parametrize(
    "error", [OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)), ValueError("embedded null byte")], ids=repr
)
def test_nobody_waits_for_a_build_that_could_not_be_started(
    start: StartFolder, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(build_ahead.subprocess, "Popen", refuse)
    with pytest.raises(type(error), match=r"temporarily unavailable|null byte"):
        start_build(start, {})
    status = wait_for_build(start, limit_seconds=60)
    assert status.state == "failed" and "no build process was started" in status.text
