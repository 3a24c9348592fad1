"""The child processes of a dry run, as their parent starts them: forks of one process that has loaded torch."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

from attrs import asdict

from kregistry.errors import MissingRequirement, StorageError
from kregistry.stub.library import stub_environment
from kregistry.stub.process import LOG_FILE, ORDER_FILE, Child, OnCubin, not_loaded
from kregistry.target import Target
from kregistry.toolchain import Toolchain

#: Where a child does not come about, its fork server has so long to die; if it lives, only this child failed.
_DEATH_SECONDS = 5.0


class Children:
    """Starts child processes on the stub GPU; use as a context manager, and close the children before it ends.

    Args:
        target: the GPU to be.
        toolchain: what the machine has.
        library: the compiled stub.
        directory: where the children have their homes.
        on_cubin: called for each kernel that a child loads, before the answer to the job that needs it.
    """

    def __init__(self, target: Target, toolchain: Toolchain, library: Path, directory: Path, on_cubin: OnCubin) -> None:
        self._target = target
        self._environment = stub_environment(target, toolchain, library, directory)
        self._directory = directory
        self._on_cubin = on_cubin
        self._stopped = False

    def __enter__(self) -> Children:
        """
        Raises:
            StorageError: the directory cannot be written.
        """
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, ExitStack() as failing:
            failing.enter_context(self._channel)
            command = [sys.executable, "-m", "kregistry.stub.fork_server", str(theirs.fileno()), json.dumps(sys.path)]
            try:
                self._directory.mkdir(parents=True, exist_ok=True)
                log = (self._directory / LOG_FILE).open("wb")
            except OSError as error:
                raise StorageError.from_oserror(error, self._directory) from error
            with log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs.fileno(),),
                    env=self._environment,
                    start_new_session=True,
                )
            failing.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        self.stop()
        if kind is not None:
            self._process.kill()  # it would wait for children that nobody has closed
        self._process.wait()
        self._channel.close()

    def stop(self) -> None:
        """Start no further child; those that were started go on."""
        self._stopped = True
        with suppress(OSError):  # it is shut down already
            self._channel.shutdown(socket.SHUT_RDWR)  # closing would not tell where a fork of this process has it too
        self._process.send_signal(signal.SIGTERM)

    def start(self, name: str) -> Child:
        """A new child, whose home is the directory of this name; safe against threads.

        Raises:
            MissingRequirement: torch does not load on the stub, or no process can be started.
            StorageError: the home cannot be written.
        """
        home = self._directory / name
        with ExitStack() as failing, ExitStack() as theirs:
            try:
                home.mkdir(parents=True)
                log = theirs.enter_context((home / LOG_FILE).open("wb"))
                order = {"target": asdict(self._target), "path": sys.path}
                (home / ORDER_FILE).write_text(json.dumps(order))
            except OSError as error:
                raise StorageError.from_oserror(error, home) from error
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
            theirs.close()  # only the child has them now: where it ends, so does what is read from it
            child = Child(home, self._on_cubin, jobs_file, events_file, end)
            failing.pop_all()
        if child.code is None:
            return child
        child.close()
        raise self._not_started(child)

    def _not_started(self, child: Child) -> MissingRequirement:
        if self._stopped:
            return MissingRequirement("the dry run was stopped")
        try:
            return not_loaded(self._process.wait(_DEATH_SECONDS), self._directory)
        except subprocess.TimeoutExpired:  # only this child did not come about
            return not_loaded(child.code or 0, child.home)
