"""One child process on the stub GPU, as its parent sees it."""

from __future__ import annotations

import base64
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from attrs import asdict

from kregistry.errors import EnvironmentProblem, StorageError
from kregistry.kernel import Kernel
from kregistry.kernel_type import KernelType
from kregistry.plan.stub import HOST_ACCESS_EXIT_CODE, stub_environment
from kregistry.target import Target
from kregistry.toolchain import Toolchain

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


class Child:
    """A process that runs :mod:`kregistry.plan.worker`, and the kernels that it has announced.

    Use as a context manager, which waits until torch and DeepGEMM are loaded.

    Args:
        target: the GPU to be.
        toolchain: what the machine has.
        library: the compiled stub.
        home: a directory that does not exist yet; DeepGEMM's JIT cache of this process is below it.
        on_cubin: called for each kernel that the process loads, before the answer to the job that needs it.
    """

    def __init__(self, target: Target, toolchain: Toolchain, library: Path, home: Path, on_cubin: OnCubin) -> None:
        self.target = target
        self.home = home
        self.on_cubin = on_cubin
        self.kernels: dict[int, Kernel] = {}
        self.alive = True
        try:
            home.mkdir(parents=True)
            self._log = (home / "log").open("w+b")
        except OSError as error:
            raise StorageError.from_oserror(error, home) from error
        receive, send = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kregistry.plan.worker", str(send)],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=(send,),
            env=stub_environment(target, toolchain, library, home),
            text=True,
            start_new_session=True,
        )
        os.close(send)
        self._events: IO[str] = os.fdopen(receive, encoding="utf-8")

    def __enter__(self) -> Child:
        self._send({"path": sys.path, "target": asdict(self.target)})
        if self._receive() is None:
            problem = f"torch and DeepGEMM do not load on the stub GPU ({self.death()}):\n{self._log_tail()}"
            self.close()
            raise EnvironmentProblem(problem, "kregistry doctor names what is missing")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, job: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to a job; ``None`` if the process dies over it, and then :meth:`death` says how."""
        self._send(job)
        while (event := self._receive()) is not None:
            if event["event"] == "done":
                return event
            self.kernels[event["library"]] = self.on_cubin(self.home, Path(event["file"]))
        self.alive = False
        return None

    def close(self) -> None:
        self.kill()  # it has nothing left to do, and an orderly end of torch takes a second
        self._process.wait()
        with suppress(BrokenPipeError):
            self._process.stdin.close()  # type: ignore[union-attr]
        self._events.close()
        self._log.close()

    def kill(self) -> None:
        """End the process and the recorder that DeepGEMM may have started in it."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def death(self) -> str:
        """How the process ended."""
        code = self._process.wait()
        if code == HOST_ACCESS_EXIT_CODE:
            return "touches device memory on the host: the stub GPU ended the process"
        if code < 0:
            return f"crashes: the process died of {signal.Signals(-code).name}"
        return f"the process ended with exit code {code}: {self._log_tail(1)}"

    def _send(self, message: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # the process is dead; receiving will say so
            self._process.stdin.write(json.dumps(message) + "\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]

    def _receive(self) -> dict[str, Any] | None:
        line = self._events.readline()
        event: dict[str, Any] | None = json.loads(line) if line.endswith("\n") else None
        return event

    def _log_tail(self, lines: int = 20) -> str:
        self._log.seek(0)
        return "\n".join(self._log.read().decode(errors="replace").splitlines()[-lines:])
