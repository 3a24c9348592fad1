"""Starts build processes, and waits for them."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from kregistry.errors import KregistryError
from kregistry.integrations.start_folder import StartFolder, Status
from kregistry.python_child import child_command, child_environment

log = logging.getLogger("kregistry.integrations")

#: The longest that a process waits for the build at its first call, in seconds.
WAIT_SECONDS = 300.0
_SAY_EVERY = 10.0
_CODE = "from kregistry.integrations.build_process import main\nmain()"
#: Keeps the pipes to our build processes open as long as this process lives.
_running: list[subprocess.Popen[bytes]] = []


def start_build(start: StartFolder, environment: Mapping[str, str]) -> None:
    """Start the build process of a folder; it ends at the latest with this process.

    Args:
        environment: DeepGEMM's settings as the engine will make them, over this process's own environment.

    Raises:
        OSError: no process can be started.
    """
    start.write_status(Status("starting", os.getpid()))
    try:
        with start.log.open("ab") as output:
            process = subprocess.Popen(
                child_command(_CODE, str(start.directory)),
                env=child_environment({**os.environ, **environment}),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the engine's handlers of SIGCHLD and Ctrl-C do not mean it
            )
        _running.append(process)
        start.write_pid(process.pid)
    except Exception as error:  # other processes may wait for it
        with suppress(OSError, KregistryError):  # they see another error of this disk themselves
            start.write_status(Status("failed", 0, text=f"no build process was started: {error}"))
        raise


def wait_for_build(
    start: StartFolder,
    limit_seconds: float = WAIT_SECONDS,
    stopped: Callable[[], bool] = lambda: False,
) -> Status:
    """Wait until the build process has ended, or a limit is reached.

    Returns:
        The last status. Its state is ``done``, or ``failed`` with the reason.
    """
    began = time.monotonic()
    delay = 0.01
    while True:
        status = start.read_status()
        if status is None:
            return Status("failed", 0, text=f"{start.directory} is gone")
        if status.state in ("done", "failed"):
            return status
        pid = start.read_pid() or status.pid  # until there is a build process, the one that is to start it
        if pid and not _alive(pid):
            late = start.read_status()  # it may have ended well between our two looks
            if late is not None and late.state in ("done", "failed"):
                return late
            return Status("failed", pid, text=f"process {pid} has died; see {start.log}")
        waited = time.monotonic() - began
        if waited > limit_seconds or stopped():
            return Status("failed", pid, text=f"not done after {waited:.0f} s; it goes on")
        time.sleep(delay)
        delay = min(0.1, delay * 1.5)


def _alive(pid: int) -> bool:
    """Whether a process runs. One that has ended and that nobody has asked about (a zombie) does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


class SaysThatItWaits:
    """Logs a line while a block takes long, every ten seconds."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._done = threading.Event()

    def __enter__(self) -> None:
        self._began = time.monotonic()
        threading.Thread(target=self._say, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        waited = time.monotonic() - self._began
        if waited > 1.0:
            log.info("kregistry: waited %.1f s for %s", waited, self._what)

    def _say(self) -> None:
        while not self._done.wait(_SAY_EVERY):
            log.warning("kregistry: waiting for %s, %.0f s so far", self._what, time.monotonic() - self._began)
