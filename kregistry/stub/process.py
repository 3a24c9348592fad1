"""One child process on the stub GPU, as its parent sees it."""

from __future__ import annotations

import base64
import json
import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from kregistry.errors import MissingRequirement
from kregistry.kernel import Kernel
from kregistry.kernel_type import KernelType
from kregistry.stub.library import HOST_ACCESS_EXIT_CODE

#: What a process prints, in its home.
LOG_FILE = "log"
#: What it is told before its first job, there too.
ORDER_FILE = "order.json"
#: Turns (home of the child, cubin that it loads) into a kernel.
OnCubin = Callable[[Path, Path], Kernel]


class NotPicklable(Exception):
    """A kernel type that cannot be pickled, so that no child can have it."""


def send_form(kernel_type: KernelType) -> str:
    """A kernel type as text for a job.

    Raises:
        NotPicklable: its class cannot be imported by name.
    """
    try:
        return base64.b64encode(pickle.dumps(kernel_type)).decode()
    except Exception as error:  # pickle raises whatever it likes
        raise NotPicklable(f"{type(error).__name__}: {error}") from error


def describe_death(code: int, home: Path) -> str:
    """How a process ended, by its exit code, negative for a signal."""
    if code == HOST_ACCESS_EXIT_CODE:
        return "touches device memory on the host: the stub GPU ended the process"
    if code < 0:
        return f"crashes: the process died of {signal.Signals(-code).name}"
    return f"the process ended with exit code {code}: {_log_tail(home, 1)}"


def not_loaded(code: int, home: Path) -> MissingRequirement:
    """A process ended with this exit code before it was ready for jobs."""
    return MissingRequirement(
        f"torch and DeepGEMM do not load on the stub GPU ({describe_death(code, home)}):\n{_log_tail(home, 30)}",
        "kregistry doctor names what is missing",
    )


def _log_tail(home: Path, lines: int) -> str:
    """What a process printed last."""
    return "\n".join((home / LOG_FILE).read_text(errors="replace").splitlines()[-lines:])


class Child:
    """A process that runs :mod:`kregistry.stub.worker`, and the kernels that it has announced.

    Use as a context manager: it waits until DeepGEMM is loaded, and ends the process.
    :class:`kregistry.stub.pool.Children` starts it.

    Args:
        home: DeepGEMM's JIT cache of this process is below it.
        on_cubin: called for each kernel that the process loads, before the answer to the job that needs it.
        jobs: takes jobs, a line each.
        events: gives events, a line each.
        end: gives ``pid N`` and, once the process has died, ``code N``, a line each; N is not the id of another process
            before ``end`` is closed.

    Attributes:
        code: the exit code of a process that has died and been waited for, negative for a signal.
    """

    def __init__(self, home: Path, on_cubin: OnCubin, jobs: IO[str], events: IO[str], end: socket.socket) -> None:
        self.home = home
        self.on_cubin = on_cubin
        self.kernels: dict[int, Kernel] = {}
        self.alive = True
        self.code: int | None = None
        self._jobs = jobs
        self._events = events
        self._end = end
        self._words = end.makefile(encoding="utf-8")
        self._lock = threading.Lock()
        try:
            self._pid = self._number("pid")
        except BaseException:  # an interrupt: while this is open, so is ``end``
            self._words.close()
            raise

    def __enter__(self) -> Child:
        """
        Raises:
            MissingRequirement: DeepGEMM does not load on the stub.
        """
        try:
            if self._receive() is None:
                raise not_loaded(self._wait(), self.home)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, job: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to a job; ``None`` if the process dies over it, and then :meth:`death` says how."""
        self.alive = False  # until it has answered: after an interrupt, nobody may take its answer for another one
        with suppress(BrokenPipeError):  # the process is dead; receiving will say so
            self._jobs.write(json.dumps(job) + "\n")
            self._jobs.flush()
        while (event := self._receive()) is not None:
            if event["event"] == "done":
                self.alive = True
                return event
            self.kernels[event["library"]] = self.on_cubin(self.home, Path(event["file"]))
        return None

    def close(self) -> None:
        self.kill()  # it has nothing left to do, and an orderly end of torch takes a second
        self._wait()
        with self._lock:
            self._pid = None
        with suppress(BrokenPipeError):  # a job that it did not read
            self._jobs.close()
        self._events.close()
        self._words.close()
        with suppress(OSError):  # it is closed already
            self._end.shutdown(socket.SHUT_RDWR)  # closing would not tell where a fork of this process has it too
        self._end.close()

    def kill(self) -> None:
        """End the process and the recorder that DeepGEMM may have started in it."""
        with self._lock:
            if self._pid is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGKILL)

    def death(self) -> str:
        """How the process ended."""
        return describe_death(self._wait(), self.home)

    def _wait(self) -> int:
        if self.code is None:
            self._number("code")
        return -signal.SIGKILL if self.code is None else self.code

    def _number(self, word: str) -> int | None:
        """The number that comes with a word; a code instead, or nothing at all, is the end of the process."""
        found, _, number = self._words.readline().partition(" ")
        if found != "pid":
            self.code = int(number) if number else 1
        return int(number) if found == word else None

    def _receive(self) -> dict[str, Any] | None:
        line = self._events.readline()
        event: dict[str, Any] | None = json.loads(line) if line.endswith("\n") else None
        return event
