"""Run nvcc on one kernel, or run any of its steps."""

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

from kregistry.bounded_input import is_readable
from kregistry.deep_gemm.compiler import compiler_error
from kregistry.deep_gemm.nvcc_flags import for_nvcc
from kregistry.full_disk import raise_if_full
from kregistry.kernel import Kernel
from kregistry.store.atomic import storage_errors
from kregistry.store.cubin import DamagedCubin, single_kernel
from kregistry.watchdog import Watchdog

#: A compiler that takes longer than this hangs: the slowest kernel takes minutes on a busy machine.
LIMIT_SECONDS = 3600.0
#: A compiler writes some MiB of temporary files for a kernel of DeepGEMM.
_NEEDED_BYTES = 32 << 20


@frozen
class Compilation:
    """The result of a compiler: a cubin with exactly one kernel, or the reason why there is none.

    Attributes:
        cubin: the machine code.
        seconds: duration of the command.
        command: the command as a shell would take it.
        failure: the compiler's words if there is no usable cubin, otherwise empty.
        front_end_seconds: the kernel's share of a front-end run before the command; ``None`` if there was none.
    """

    cubin: bytes
    seconds: float
    command: str
    failure: str = ""
    front_end_seconds: float | None = None


class Nvcc:
    """Starts nvcc and its steps, one process for each call. Safe against threads.

    A process sees no variable that would change the machine code: the arguments that nvcc would take from its
    environment are part of each kernel's command.

    Attributes:
        path: the compiler.
        stopped: whether :meth:`stop` has been called; results that come afterwards say nothing about a kernel.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._watchdog = Watchdog()
        self._has_started = threading.Event()
        self.stopped = False

    def compile(self, kernel: Kernel, scratch: Path) -> Compilation:
        """Compile a kernel with DeepGEMM's flags, in a scratch directory that is removed afterwards.

        Raises:
            MissingRequirement: nvcc does not know the architecture, or would fail with every source.
            StorageError: the scratch directory cannot be written.
        """
        with scratch_directory(scratch):
            source, output = scratch / "kernel.cu", scratch / "kernel.cubin"
            source.write_text(kernel.source)
            made = self.make([str(self.path), *kernel.command.arguments(source, output)], output, scratch)
        error = compiler_error(made.failure, self.path)
        if error is not None:  # another kernel would fail alike: the compiler is at fault
            raise error
        return made

    def make(
        self,
        command: list[str],
        output: Path,
        scratch: Path,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Compilation:
        """Run a command that writes a cubin to ``output``.

        Raises:
            OSError: the command cannot be started.
            StorageError: it failed, and the disk is full: that says nothing about the kernel.
        """
        started = time.perf_counter()
        code, text = self.run(command, scratch, environment)
        seconds = time.perf_counter() - started
        cubin = output.read_bytes() if output.exists() else b""
        failure = _failure(code, text, cubin)
        if failure and not self.stopped:
            raise_if_full(scratch, _NEEDED_BYTES, failure)
        return Compilation(cubin, seconds, shlex.join(command), failure)

    def run(
        self, command: list[str], scratch: Path, environment: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[int, str]:
        """Run a command whose temporary files go to a scratch directory; returns its exit code and output.

        A command that has not ended after :data:`LIMIT_SECONDS` is killed.

        Raises:
            OSError: the command cannot be started.
        """
        # No pipe: a server that the command leaves behind, such as that of a compiler cache, would keep it open.
        with os.fdopen(os.memfd_create("output"), "w+", errors="replace") as output:
            process = self.start(command, scratch, environment, output)
            if process is None:
                return -signal.SIGTERM, "stopped"
            late = ""
            try:
                if not _ends(process, LIMIT_SECONDS):
                    self.kill(process)
                    late = f"\nkilled: it had not ended after {LIMIT_SECONDS:.0f} s"
                process.wait()
            finally:
                self.ended(process)
            output.seek(0)
            return process.returncode, output.read() + late

    def start(
        self,
        command: list[str],
        scratch: Path,
        environment: Mapping[str, str],
        output: IO[str] | int,
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[str] | None:
        """Start a command; the caller calls :meth:`ended` when it has ended.

        Returns:
            the process; ``None`` after :meth:`stop`.

        Raises:
            OSError: the command cannot be started.
        """
        with self._lock:
            if self.stopped:
                return None
            self._watchdog.start()
            process = subprocess.Popen(
                command,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**for_nvcc(os.environ), **environment, "TMPDIR": str(scratch), **self._watchdog.environment},
                pass_fds=pass_fds,
                start_new_session=True,
            )
            self._running.add(process)
        self._has_started.set()
        return process

    def wait_for_first(self, seconds: float) -> None:
        """Wait until the first command has started, at most this long."""
        self._has_started.wait(seconds)

    def ended(self, process: subprocess.Popen[str]) -> None:
        """Forget a command that has ended, so that :meth:`stop` leaves it alone."""
        with self._lock:
            self._running.discard(process)

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill a command that hangs, and all that it has started."""
        with self._lock:
            if process in self._running:
                _kill(process)

    def close(self) -> None:
        """After the last command: end what would end the commands if this process were killed."""
        self._watchdog.stop()

    def stop(self) -> None:
        """Kill all running compilers, and start no further one."""
        with self._lock:
            self.stopped = True
            for process in self._running:
                _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):  # it has just ended by itself
        os.killpg(process.pid, signal.SIGKILL)


def _ends(process: subprocess.Popen[str], seconds: float) -> bool:
    """Wait until a process ends; whether it has within this time."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:  # the kernel has no such descriptors: Python looks every 50 ms
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode is not None
    try:
        return is_readable(descriptor, seconds)
    finally:
        os.close(descriptor)


@contextmanager
def scratch_directory(scratch: Path) -> Iterator[None]:
    """Make a directory that is removed at the end of the block.

    Raises:
        StorageError: the directory cannot be written.
    """
    with storage_errors(scratch):
        scratch.mkdir(parents=True)
        try:
            yield
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _failure(code: int, text: str, cubin: bytes) -> str:
    """Why there is no cubin with exactly one kernel, in the compiler's words; empty if there is one."""
    if code:
        return text.strip() or f"the compiler ended with exit code {code} and no message"
    try:
        single_kernel(cubin)
    except DamagedCubin as error:
        return f"{text.strip()}\nthe compiler reported success, but {error}".strip()
    return ""
