"""One child process on the stub GPU, as its parent sees it."""

from __future__ import annotations

import base64
import json
import os
import pickle
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from kregistry.errors import EnvironmentProblem
from kregistry.kernel import Kernel
from kregistry.kernel_type import KernelType
from kregistry.plan.stub import HOST_ACCESS_EXIT_CODE

#: Turns (home of the child, cubin that it loads) into a kernel.
OnCubin = Callable[[Path, Path], Kernel]


class Unsendable(Exception):
    """A kernel type that cannot be pickled, so that no child can have it."""


def send_form(kernel_type: KernelType) -> str:
    """A kernel type as text for a job.

    Raises:
        Unsendable: its class cannot be imported by name.
    """
    try:
        return base64.b64encode(pickle.dumps(kernel_type)).decode()
    except Exception as error:  # pickle raises whatever it likes
        raise Unsendable(f"{type(error).__name__}: {error}") from error


def describe_death(code: int, log: IO[bytes]) -> str:
    """How a process ended, by its exit code, negative for a signal."""
    if code == HOST_ACCESS_EXIT_CODE:
        return "touches device memory on the host: the stub GPU ended the process"
    if code < 0:
        return f"crashes: the process died of {signal.Signals(-code).name}"
    return f"the process ended with exit code {code}: {_log_tail(log, 1)}"


def not_loaded(code: int, log: IO[bytes]) -> EnvironmentProblem:
    """A process ended with this exit code before it was ready for jobs."""
    return EnvironmentProblem(
        f"torch and DeepGEMM do not load on the stub GPU ({describe_death(code, log)}):\n{_log_tail(log, 20)}",
        "kregistry doctor names what is missing",
    )


def _log_tail(log: IO[bytes], lines: int) -> str:
    log.seek(0)
    return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])


class Child:
    """A process that runs :mod:`kregistry.plan.worker`, and the kernels that it has announced.

    Use as a context manager: it waits until DeepGEMM is loaded, and ends the process.
    :class:`kregistry.plan.children.Children` starts it.

    Args:
        home: DeepGEMM's JIT cache of this process is below it.
        on_cubin: called for each kernel that the process loads, before the answer to the job that needs it.
        log: what it prints.
        jobs: descriptor that takes jobs.
        events: descriptor that gives events.
        pid: its process id, not to be used again before ``end`` is closed.
        end: gives its exit code, a line, once it has died.
    """

    def __init__(
        self, home: Path, on_cubin: OnCubin, log: IO[bytes], jobs: int, events: int, pid: int, end: IO[str]
    ) -> None:
        self.home = home
        self.on_cubin = on_cubin
        self.kernels: dict[int, Kernel] = {}
        self.alive = True
        self._log = log
        self._jobs = os.fdopen(jobs, "w", encoding="utf-8")
        self._events = os.fdopen(events, encoding="utf-8")
        self._pid = pid
        self._end = end
        self._code: int | None = None

    def __enter__(self) -> Child:
        if self._receive() is None:
            problem = not_loaded(self._wait(), self._log)
            self.close()
            raise problem
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, job: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to a job; ``None`` if the process dies over it, and then :meth:`death` says how."""
        with suppress(BrokenPipeError):  # the process is dead; receiving will say so
            self._jobs.write(json.dumps(job) + "\n")
            self._jobs.flush()
        while (event := self._receive()) is not None:
            if event["event"] == "done":
                return event
            self.kernels[event["library"]] = self.on_cubin(self.home, Path(event["file"]))
        self.alive = False
        return None

    def close(self) -> None:
        self.kill()  # it has nothing left to do, and an orderly end of torch takes a second
        self._wait()
        self._close()

    def kill(self) -> None:
        """End the process and the recorder that DeepGEMM may have started in it."""
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)

    def death(self) -> str:
        """How the process ended."""
        return describe_death(self._wait(), self._log)

    def _wait(self) -> int:
        if self._code is None:
            self._code = int(self._end.readline() or -signal.SIGKILL)
        return self._code

    def _receive(self) -> dict[str, Any] | None:
        line = self._events.readline()
        event: dict[str, Any] | None = json.loads(line) if line.endswith("\n") else None
        return event

    def _close(self) -> None:
        with suppress(BrokenPipeError):  # a job that it did not read
            self._jobs.close()
        for each in (self._events, self._log, self._end):
            each.close()
