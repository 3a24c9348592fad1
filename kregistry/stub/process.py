"""One process on the stub GPU, as its parent sees it."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, overload

from kregistry.stub.death import describe_death, not_loaded
from kregistry.stub.lines import Lines
from kregistry.stub.probed import Probed
from kregistry.stub.protocol import (
    Event,
    Job,
    KernelLoaded,
    ProbeJob,
    Ready,
    SweepJob,
    Swept,
    event_from_line,
    job_to_line,
)

#: A process that has said nothing for this long hangs: torch may load slowly, and a part of a sweep takes seconds.
SILENCE_SECONDS = 600.0
#: Turns (home of the process, cubin that it has loaded) into the id of the kernel.
OnCubin = Callable[[Path, Path], str]


class StubProcess:
    """A process that runs :mod:`kregistry.stub.worker`, and the kernels that it has loaded.

    Use it as a context manager: entering waits until DeepGEMM is loaded, and leaving ends the process.
    :class:`kregistry.stub.pool.StubPool` starts it.

    Args:
        home: a directory of its own; DeepGEMM's JIT cache of this process is below it.
        on_cubin: called for each kernel that it loads, before the answer to the job that needs the kernel.
        jobs: where its jobs are written.
        events: where its events are read.
        end: sends its process id, and then its exit code; while this is open, the id is not reused.
    """

    def __init__(self, home: Path, on_cubin: OnCubin, jobs: IO[str], events: IO[str], end: socket.socket) -> None:
        self.home = home
        self.on_cubin = on_cubin
        #: Number of a library -> id of the kernel in it.
        self.kernels: dict[int, str] = {}
        self.alive = True
        self.code: int | None = None
        self._jobs = jobs
        self._events, self._lines = events, Lines(events.fileno())
        self._end, self._words = end, Lines(end.fileno())
        self._lock = threading.Lock()
        self._pid: int | None = None
        #: For how long nothing was heard of it before it was killed, in seconds.
        self.silent: float | None = None
        self._pid = self._number("pid")

    def __enter__(self) -> StubProcess:
        """
        Raises:
            MissingRequirement: DeepGEMM does not load on the stub.
        """
        try:
            if self._receive() is None:
                raise not_loaded(self._wait(), self.home, self.silent)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @overload
    def ask(self, job: SweepJob) -> Swept | None: ...
    @overload
    def ask(self, job: ProbeJob) -> Probed | None: ...
    def ask(self, job: Job) -> Swept | Probed | None:
        """The answer to a job; ``None`` if the process dies or hangs over it, and then :meth:`death` says how."""
        self.alive = False  # until it has answered: after an interrupt, its answer must not be taken for another one
        with suppress(BrokenPipeError):  # the process is dead; receiving will say so
            self._jobs.write(job_to_line(job))
            self._jobs.flush()
        while (event := self._receive()) is not None:
            if isinstance(event, KernelLoaded):
                self.kernels[event.library] = self.on_cubin(self.home, Path(event.file))
            elif not isinstance(event, Ready):
                self.alive = True
                return event
        return None

    def close(self) -> None:
        self.kill()  # it has nothing left to do, and an orderly end of torch takes a second
        self._wait()
        with self._lock:
            self._pid = None
        with suppress(BrokenPipeError):  # a job that it did not read
            self._jobs.close()
        self._events.close()
        with suppress(OSError):  # it is closed already
            self._end.shutdown(socket.SHUT_RDWR)  # a fork of this process may have it open, so closing is not enough
        self._end.close()

    def kill(self) -> None:
        """End the process and the recorder that DeepGEMM may have started in it."""
        with self._lock:
            if self._pid is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGKILL)

    def death(self) -> str:
        """How the process ended."""
        return describe_death(self._wait(), self.home, self.silent)

    def _wait(self) -> int:
        if self.code is None:
            self._number("code")
        return -signal.SIGKILL if self.code is None else self.code

    def _number(self, word: str) -> int | None:
        """The number that comes with a word; a code instead, or nothing at all, is the end of the process."""
        found, _, number = self._next(self._words).partition(" ")
        if found != "pid":
            self.code = int(number) if number else 1
        return int(number) if found == word else None

    def _receive(self) -> Event | None:
        line = self._next(self._lines)
        return event_from_line(line) if line.endswith("\n") else None

    def _next(self, lines: Lines) -> str:
        """The next line; empty if there is none, or after a long silence, which is the end of the process."""
        try:
            return lines.next(SILENCE_SECONDS)
        except TimeoutError:
            self.silent = SILENCE_SECONDS
            self.kill()
            return ""
