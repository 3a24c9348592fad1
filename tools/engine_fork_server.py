"""The process of forked_rehearsals.py: imports an engine once on the stub GPU, and forks a child for each rehearsal.

It reads a job of JSON from each line of a socket, and answers with a line: the exit code of the child, or ``null`` if
it did not end in time. When the other end of the socket is closed it ends, with the child that is running.
"""

from __future__ import annotations

import io
import json
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from kregistry.rehearsal.process import import_engine, main

#: Seconds between two looks at a child.
_LOOK = 0.05


class _Out(io.StringIO):
    """What the observer writes to: memory while the engine is imported, then the file of the child."""

    file: TextIO | None = None

    def write(self, text: str) -> int:
        return self.file.write(text) if self.file else super().write(text)

    def flush(self) -> None:
        if self.file:
            self.file.flush()


def serve(
    engine: str,
    connection: socket.socket,
    importing: Callable[[str, TextIO], Callable[[list[str]], Any]] = import_engine,
) -> None:
    """Import the engine, say so, and carry out one job after the other."""
    out = _Out()
    make = importing(engine, out)
    with connection.makefile("rw") as lines:
        print("ready", file=lines, flush=True)
        for line in lines:
            job = json.loads(line)
            child = _fork(job, make, out)
            print(json.dumps(_wait(child, job["longest"], connection)), file=lines, flush=True)


def _fork(job: dict[str, Any], make: Callable[[list[str]], Any], out: _Out) -> int:
    child = os.fork()
    if not child:
        try:
            _child(job, make, out)
        finally:
            os._exit(70)
    return child


def _wait(child: int, longest: float, connection: socket.socket) -> int | None:
    deadline = time.monotonic() + longest
    try:
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if select.select([connection], [], [], _LOOK)[0]:  # no job is sent before the answer: it is closed
                break
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None
    finally:
        with suppress(ProcessLookupError):  # processes that the engine has started
            os.killpg(child, signal.SIGKILL)


def _child(job: dict[str, Any], make: Callable[[list[str]], Any], out: _Out) -> None:
    """Rehearse as a process of its own would: its session, environment, temporary directory and log."""
    os.setsid()
    log = os.open(job["log"], os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.clear()
    os.environ.update(job["environment"])
    tempfile.tempdir = None
    if "torch" in sys.modules:  # the stub GPU is memory of this process, which a fork copies
        sys.modules["torch"].cuda._is_in_bad_fork = lambda: False

    def imported(engine: str, file: TextIO) -> Callable[[list[str]], Any]:
        file.write(out.getvalue())
        out.file = file
        return make

    main(job["engine"], job["findings"], job["seconds"], job["arguments"], imported)


if __name__ == "__main__":
    with suppress(OSError):  # an answer that nobody waits for
        serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
    os._exit(0)  # threads of the engine would keep the process
