"""The child processes of a dry run, as their parent starts them: forks of one process that has loaded torch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from attrs import asdict

from kregistry.errors import StorageError
from kregistry.plan.child import Child, OnCubin, not_loaded
from kregistry.plan.stub import stub_environment
from kregistry.target import Target
from kregistry.toolchain import Toolchain


class Children:
    """Starts child processes on the stub GPU; use as a context manager.

    Args:
        target: the GPU to be.
        toolchain: what the machine has.
        library: the compiled stub.
        directory: where the children have their homes.
        on_cubin: called for each kernel that a child loads, before the answer to the job that needs it.

    Raises:
        StorageError: the directory cannot be written.
    """

    def __init__(self, target: Target, toolchain: Toolchain, library: Path, directory: Path, on_cubin: OnCubin) -> None:
        self._target = target
        self._directory = directory
        self._on_cubin = on_cubin
        self._log = _open_log(directory)
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kregistry.plan.fork_server", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                env=stub_environment(target, toolchain, library, directory),
                start_new_session=True,
            )

    def __enter__(self) -> Children:
        self._send({"path": sys.path})
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self._process.wait()
        self._log.close()

    def stop(self) -> None:
        """Start no further child, not even one that is waited for; those that were started go on."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def start(self, name: str) -> Child:
        """A new child, whose home is the directory of this name; safe against threads.

        Raises:
            EnvironmentProblem: torch does not load on the stub.
            StorageError: the home cannot be written.
        """
        home = self._directory / name
        with ExitStack() as ours, ExitStack() as theirs:
            log = ours.enter_context(_open_log(home))
            read_jobs, jobs = os.pipe()
            theirs.callback(os.close, read_jobs)
            events, write_events = os.pipe()
            theirs.callback(os.close, write_events)
            end, write_end = socket.socketpair()
            theirs.enter_context(write_end)
            with end:
                words = ours.enter_context(end.makefile(encoding="utf-8"))
            order: dict[str, object] = {"target": asdict(self._target), "home": str(home)}
            self._send(order, read_jobs, write_events, log.fileno(), write_end.fileno())
            theirs.close()  # only the child writes now: when it ends, so does what is read
            pid = words.readline()
            if not pid:
                os.close(jobs)
                os.close(events)
                raise not_loaded(self._process.wait(), self._log)
            ours.pop_all()
            return Child(home, self._on_cubin, log, jobs, events, int(pid), words)

    def _send(self, message: dict[str, object], *descriptors: int) -> None:
        with suppress(ConnectionError):  # the process has died, as whoever waits for an answer will see
            socket.send_fds(self._channel, [json.dumps(message).encode()], descriptors)


def _open_log(home: Path) -> IO[bytes]:
    try:
        home.mkdir(parents=True, exist_ok=True)
        return (home / "log").open("w+b")
    except OSError as error:
        raise StorageError.from_oserror(error, home) from error
