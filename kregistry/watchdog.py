"""A small process that ends the processes of another one, when that one has died without doing so itself.

SIGKILL leaves a process no time. So its children carry a token in their environment, and a watchdog waits for the end
of a pipe that only the parent holds. Then it ends every process that carries the token. A parent-death signal (prctl)
would depend on the thread that started a child; a list of process ids would miss a child that was just started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import uuid
import weakref
from collections.abc import Mapping
from contextlib import suppress

#: The variable by which the processes of one owner are known.
TOKEN = "KREGISTRY_PROCESSES_OF"

_PROGRAM = """
import os, signal, sys, time
token, grace = os.fsencode(sys.argv[1]), float(sys.argv[2])
if os.read(0, 1):
    os._exit(0)
own, begun = os.getpid(), time.monotonic()
quiet = 0
while quiet < 3 and time.monotonic() - begun < grace + 10:
    word = signal.SIGTERM if time.monotonic() - begun < grace else signal.SIGKILL
    found = False
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != own:
            try:
                with open("/proc/" + name + "/environ", "rb") as file:
                    if token in file.read().split(b"\\0"):
                        found = True
                        os.kill(int(name), word)
            except OSError:
                pass
    quiet = 0 if found else quiet + 1
    time.sleep(0.1)
"""


class Watchdog:
    """Ends the processes that carry :attr:`environment` if this process dies. Use as a context manager.

    Args:
        grace_seconds: between SIGTERM and SIGKILL; 0: SIGKILL at once.
    """

    def __init__(self, grace_seconds: float = 0.0) -> None:
        self._grace_seconds = grace_seconds
        self._token = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that the processes carry."""
        return {TOKEN: self._token}

    def start(self) -> None:
        """Start the process, unless it runs. Before a child that carries the token is started.

        Without it, a killed owner leaves its children running: no reason to refuse work.
        """
        with self._lock:
            if self._process is None:
                arguments = [_PROGRAM, f"{TOKEN}={self._token}", str(self._grace_seconds)]
                with suppress(OSError):
                    self._process = subprocess.Popen(
                        [sys.executable, "-I", "-S", "-c", *arguments],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        env={},
                        cwd="/",
                        start_new_session=True,
                    )
                    # An owner that is forgotten; at the end of this process the pipe ends, and that has its meaning.
                    weakref.finalize(self, _end, self._process).atexit = False

    def __enter__(self) -> Watchdog:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it: the owner has ended its processes itself."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is not None:
        return
    assert process.stdin is not None
    with suppress(OSError), process.stdin:
        os.write(process.stdin.fileno(), b"x")
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)  # it may still be starting: waiting for that takes longer
    process.wait()
