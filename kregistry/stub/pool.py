"""A pool of processes on the stub GPU: all are forks of one process that has loaded torch."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from kregistry.errors import MissingRequirement, StorageError, storage_errors
from kregistry.kernel import Kernel
from kregistry.python_child import child_command, child_environment, search_path
from kregistry.scratch import scratch_directory
from kregistry.stub.death import LOG_FILE, not_loaded
from kregistry.stub.environment import stub_environment
from kregistry.stub.library import calls_library, compile_stub
from kregistry.stub.process import StubProcess
from kregistry.stub.protocol import ORDER_FILE, StartOrder
from kregistry.stub.recorded_kernel import RecordedKernels
from kregistry.target import Target
from kregistry.toolchain import Toolchain
from kregistry.watchdog import Watchdog

#: If a process does not start, the fork server has this time to die as well. If it lives, only that process failed.
_DEATH_SECONDS = 5.0
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


class StubPool:
    """Starts processes on the stub GPU as one target.

    Use it as a context manager, and close its processes before it is left. It may be entered again, and then starts
    anew; it keeps the kernels.

    Args:
        toolchain: the software of this machine.
        target: the GPU that the processes see.
        stub_directory: where the compiled stub is kept.
        on_kernel: called once for each kernel, from the thread that waits for the process which loads it first.
    """

    def __init__(
        self,
        toolchain: Toolchain,
        target: Target,
        stub_directory: Path,
        on_kernel: Callable[[Kernel], None] = lambda kernel: None,
    ) -> None:
        self._toolchain = toolchain
        self._target = target
        self._stub_directory = stub_directory
        self._recorded = RecordedKernels(toolchain.cuda.compiler, on_kernel)

    @property
    def kernels(self) -> Mapping[str, Kernel]:
        """Every kernel that a process has loaded, by its id."""
        return self._recorded.kernels

    def __enter__(self) -> StubPool:
        """
        Raises:
            MissingRequirement: the stub does not compile.
            StorageError: the compiled stub or temporary files cannot be written.
        """
        self._stopped = False
        with ExitStack() as failing:
            #: Where the processes have their homes.
            self.directory = failing.enter_context(scratch_directory("stub"))
            library = self._library()
            watchdog = failing.enter_context(Watchdog())
            self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            failing.enter_context(self._channel)
            with theirs:
                self._server = self._start_server(library, theirs, watchdog.environment)
            self._resources = failing.pop_all()
        return self

    def _library(self) -> Path:
        """The compiled stub; for a user who may not write where it is kept, one that lives as long as the pool."""
        try:
            return compile_stub(self._toolchain, self._stub_directory)
        except StorageError as error:
            if getattr(error.__cause__, "errno", None) not in _NOT_ALLOWED:
                raise
            return compile_stub(self._toolchain, self.directory / "stub")

    def _start_server(self, library: Path, channel: socket.socket, token: Mapping[str, str]) -> subprocess.Popen[bytes]:
        code = "import sys\nfrom kregistry.stub.fork_server import main\nmain(int(sys.argv[1]))"
        environment = stub_environment(self._target, self._toolchain, library, self.directory, child_environment())
        stub, colon, others = environment["LD_PRELOAD"].partition(":")
        environment["LD_PRELOAD"] = f"{stub}:{calls_library(Path(stub))}{colon}{others}"
        with storage_errors(self.directory):
            log = (self.directory / LOG_FILE).open("wb")
        with log:
            return subprocess.Popen(
                child_command(code, str(channel.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(channel.fileno(),),
                env={**environment, **token},
                start_new_session=True,
            )

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        with self._resources:
            try:
                self.stop()
                if kind is not None:
                    self._server.kill()  # it would wait for processes that are still open
                self._server.wait()
            except BaseException:  # an interrupt of this wait
                self._server.kill()
                self._server.wait()
                raise

    def stop(self) -> None:
        """Start no further process; those that were started continue."""
        self._stopped = True
        with suppress(OSError):  # it is shut down already
            self._channel.shutdown(socket.SHUT_RDWR)  # a fork of this process may have it open: closing is not enough
        self._server.send_signal(signal.SIGTERM)

    def start(self, name: str) -> StubProcess:
        """A new process, whose home is the directory of this name; safe against threads.

        Raises:
            MissingRequirement: torch does not load on the stub, or no process can be started.
            StorageError: the home cannot be written.
        """
        home = self.directory / name
        with ExitStack() as failing, ExitStack() as theirs:
            with storage_errors(home):
                home.mkdir(parents=True)
                log = theirs.enter_context((home / LOG_FILE).open("wb"))
                (home / ORDER_FILE).write_text(StartOrder(self._target, search_path()).to_text())
            read_jobs, jobs = os.pipe()
            theirs.callback(os.close, read_jobs)
            jobs_file = failing.enter_context(os.fdopen(jobs, "w", encoding="utf-8"))
            events, write_events = os.pipe()
            theirs.callback(os.close, write_events)
            events_file = failing.enter_context(os.fdopen(events, encoding="utf-8"))
            end, write_end = socket.socketpair()
            theirs.enter_context(write_end)
            failing.enter_context(end)
            descriptors = [read_jobs, write_events, log.fileno(), write_end.fileno()]
            with suppress(ConnectionError):  # it has died, or was stopped: then there is no process id
                socket.send_fds(self._channel, [os.fsencode(home)], descriptors)
            theirs.close()  # only the new process has them now: when it ends, reading from it ends
            process = StubProcess(home, self._recorded.add, jobs_file, events_file, end)
            failing.pop_all()
        if process.code is None:
            return process
        process.close()
        raise self._not_started(process)

    def _not_started(self, process: StubProcess) -> MissingRequirement:
        if self._stopped:
            return MissingRequirement("the dry run was stopped")
        try:
            return not_loaded(self._server.wait(_DEATH_SECONDS), self.directory)
        except subprocess.TimeoutExpired:  # only this process failed
            return not_loaded(process.code or 0, process.home, process.silent)


def check_stub(toolchain: Toolchain, target: Target, stub_directory: Path) -> None:
    """Load torch and DeepGEMM on the stub GPU, and nothing more.

    Raises:
        MissingRequirement: they do not load.
        StorageError: no temporary directory can be written.
    """
    with StubPool(toolchain, target, stub_directory) as pool, pool.start("0"):
        pass
