"""Run the real compiler: on one kernel, or any of its steps."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import IO

from attrs import frozen

from kregistry.kernel import Kernel
from kregistry.store.atomic import storage_errors
from kregistry.store.cubin import DamagedCubin, single_kernel


@frozen
class Compilation:
    """What the compiler gave: a cubin with exactly one kernel, or the reason why not.

    Attributes:
        seconds: of the command.
        front_end_seconds: this kernel's share of a front end that ran before it; ``None`` if the command was all.
    """

    cubin: bytes
    seconds: float
    command: str
    failure: str = ""
    front_end_seconds: float | None = None


class Compiler:
    """nvcc, one process for each call; :meth:`stop` ends those that run, and then ``stopped`` is true."""

    def __init__(self, nvcc: Path) -> None:
        self.nvcc = nvcc
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self.stopped = False

    def compile(self, kernel: Kernel, scratch: Path) -> Compilation:
        """Compile a kernel with the flags that DeepGEMM gave, in a scratch directory that is removed again.

        Raises:
            StorageError: the scratch directory cannot be written.
        """
        with scratch_directory(scratch):
            source, output = scratch / "kernel.cu", scratch / "kernel.cubin"
            source.write_text(kernel.source)
            return self.make([str(self.nvcc), *kernel.command.arguments(source, output)], output, scratch)

    def make(
        self,
        command: list[str],
        output: Path,
        scratch: Path,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Compilation:
        """The cubin that a command writes to ``output``.

        Raises:
            OSError: the command cannot be started.
        """
        started = time.perf_counter()
        code, text = self.run(command, scratch, environment)
        seconds = time.perf_counter() - started
        cubin = output.read_bytes() if output.exists() else b""
        return Compilation(cubin, seconds, shlex.join(command), _failure(code, text, cubin))

    def run(
        self, command: list[str], scratch: Path, environment: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[int, str]:
        """Exit code and output of a command whose temporary files go to a scratch directory.

        Raises:
            OSError: the command cannot be started.
        """
        process = self.start(command, scratch, environment, subprocess.PIPE)
        if process is None:
            return -signal.SIGTERM, "stopped"
        try:
            text, _ = process.communicate()
        finally:
            self.ended(process)
        return process.returncode, text

    def start(
        self,
        command: list[str],
        scratch: Path,
        environment: Mapping[str, str],
        output: IO[str] | int,
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[str] | None:
        """A command that runs until it ends or is stopped; tell :meth:`ended`. ``None`` after :meth:`stop`.

        Raises:
            OSError: the command cannot be started.
        """
        with self._lock:
            if self.stopped:
                return None
            process = subprocess.Popen(
                command,
                cwd=cwd,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**os.environ, **environment, "TMPDIR": str(scratch)},
                pass_fds=pass_fds,
                start_new_session=True,
            )
            self._running.add(process)
            return process

    def ended(self, process: subprocess.Popen[str]) -> None:
        """A command that was started need not be stopped any more."""
        with self._lock:
            self._running.discard(process)

    def stop(self) -> None:
        """End all running compilers and start no more."""
        with self._lock:
            self.stopped = True
            for process in self._running:
                with suppress(ProcessLookupError):  # it has just ended by itself
                    os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def scratch_directory(scratch: Path) -> Iterator[None]:
    """A directory that is removed again.

    Raises:
        StorageError: it cannot be written.
    """
    with storage_errors(scratch):
        scratch.mkdir(parents=True)
        try:
            yield
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _failure(code: int, text: str, cubin: bytes) -> str:
    """Why there is no cubin with one kernel, in the compiler's words; empty if there is."""
    if code:
        return text.strip() or f"the compiler ended with exit code {code} and no message"
    try:
        single_kernel(cubin)
    except DamagedCubin as error:
        return f"{text.strip()}\nthe compiler reported success, but {error}".strip()
    return ""
