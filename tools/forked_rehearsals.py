"""Many rehearsals in this process, each in a fork of one process that has imported the engine.

The import is most of a rehearsal. A fork has the environment, temporary directory, log and time limit that
``kregistry rehearse`` gives to a process of its own, and what it writes is compared with that byte by byte by a test.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from unittest import mock

from attrs import field, frozen

from kregistry.deep_gemm.environment import CACHE_DIRECTORIES
from kregistry.errors import storage_errors
from kregistry.python_child import child_command
from kregistry.rehearsal import rehearse as module
from kregistry.stub.program import program_environment
from kregistry.target import Target

_SERVER = Path(__file__).with_name("engine_fork_server.py")
_CODE = "from runpy import run_path\nrun_path(sys.argv.pop(1), run_name='__main__')"
#: Variables that may differ between a fork and what it was forked from: places, and what is read at each call.
_MAY_DIFFER = {
    *CACHE_DIRECTORIES,
    "HOME",
    "KREGISTRY_STORE",
    "KREGISTRY_STUB_OVERFLOW",
    "KREGISTRY_STUB_UNCOUNTED",
    "LD_PRELOAD",
    "PYTEST_CURRENT_TEST",
    "PYTHONUSERBASE",
    "SGLANG_DG_CACHE_DIR",
    "TMPDIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_LIBCUDA_PATH",
    "XDG_CACHE_HOME",
}


class ForkedRehearsals:
    """For each engine at most one process that has imported it, with the variables that it was imported with.

    A rehearsal with another target or other variables imports the engine again. If the import fails, the rehearsal gets
    a process of its own, which says why.
    """

    def __init__(self) -> None:
        self._servers: dict[str, _Server] = {}

    def __enter__(self) -> ForkedRehearsals:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        for engine in list(self._servers):
            self._servers.pop(engine).close()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Within it ``kregistry.rehearsal.rehearse`` forks."""
        with mock.patch.object(module, "_Attempt", partial(_ForkedAttempt, forks=self)):
            yield

    def server(self, engine: str, target: Target, environment: Mapping[str, str]) -> _Server:
        """The process to fork from."""
        key = {name: value for name, value in environment.items() if name not in _MAY_DIFFER}
        server = self._servers.get(engine)
        if server is None or server.key != key:
            if server is not None:
                self._servers.pop(engine).close()
            server = self._servers[engine] = _Server(engine, target, environment, key)
        return server

    def forget(self, server: _Server) -> None:
        """End a process that was left in the middle of a rehearsal."""
        server.close()
        self._servers = {engine: each for engine, each in self._servers.items() if each is not server}


@frozen
class _ForkedAttempt(module._Attempt):
    """An attempt whose process is a fork."""

    forks: ForkedRehearsals = field(kw_only=True)

    def _wait(self, command: list[str], environment: Mapping[str, str], log: Path) -> int | None:
        server = self.forks.server(self.engine, self.target, environment)
        if not server.ready:
            return super()._wait(command, environment, log)
        with storage_errors(log):
            log.write_bytes(b"")
        engine, findings, _, *arguments = command[3:]  # after the interpreter, -c and the code
        job = {
            "engine": engine,
            "findings": findings,
            "seconds": self.seconds,
            "longest": self.seconds + module._GRACE,
            "arguments": arguments,
            "environment": dict(environment),
            "log": str(log.absolute()),
        }
        began = time.monotonic()
        try:
            code = server.carry_out(job)
        except BaseException:
            self.forks.forget(server)
            raise
        return None if code and time.monotonic() - began > self.seconds else code


class _Server:
    """A process that has imported an engine.

    Attributes:
        key: the variables that a rehearsal must have to be forked from it.
        ready: whether the engine is imported.
    """

    def __init__(self, engine: str, target: Target, environment: Mapping[str, str], key: Mapping[str, str]) -> None:
        self.key = key
        self._engine = engine
        self._stack = ExitStack()
        here, there = socket.socketpair()
        scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="kregistry-forks-")))
        self._log = scratch / "import.log"
        base = {name: value for name, value in environment.items() if name != "LD_PRELOAD"}
        own = self._stack.enter_context(program_environment(target, base=base))
        with there, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                child_command(_CODE, str(_SERVER), engine, str(there.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=own,
                pass_fds=[there.fileno()],
                start_new_session=True,
            )
        self._connection = self._stack.enter_context(here)
        self._lines = self._stack.enter_context(here.makefile("rw"))
        self.ready = self._lines.readline() == "ready\n"

    def carry_out(self, job: Mapping[str, object]) -> int | None:
        """Rehearse in a fork; its exit code, or ``None`` if it did not end in time."""
        print(json.dumps(job), file=self._lines, flush=True)
        answer = self._lines.readline()
        if not answer:
            last = module._last_words(self._log)
            raise RuntimeError(f"the process that {self._engine} is forked from has ended: {last}")
        code: int | None = json.loads(answer)
        return code

    def close(self) -> None:
        """End the process, with the fork that is running."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(module._GRACE)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with suppress(BrokenPipeError):
            self._stack.close()


__all__ = ["ForkedRehearsals"]
