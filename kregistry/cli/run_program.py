"""Runs a command of the user: on the stub GPU, or as it is."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from kregistry.cli.output import data_descriptor
from kregistry.cli.signals import Terminated
from kregistry.python_child import as_given
from kregistry.watchdog import Watchdog

#: Kubernetes kills 30 s after SIGTERM, docker after 10 s.
_GRACE_SECONDS = 8.0


@contextmanager
def environment_on(target: str | None, devices: int = 1) -> Iterator[Mapping[str, str]]:
    """The environment of a command on the stub GPU as ``target``; without a target that of this process.

    Raises:
        UnknownNameError, ManifestError: there is no such target.
        MissingRequirement, StorageError: as of :func:`kregistry.stub.program.program_environment`.
    """
    if target is None:
        yield os.environ
        return
    from kregistry.manifest.targets import named_target
    from kregistry.stub.program import program_environment

    with program_environment(named_target(target), devices) as environment:
        yield environment


def run_program(command: tuple[str, ...], environment: Mapping[str, str]) -> int:
    """Run a command to its end, which writes to our standard output, and return its exit code.

    Ctrl-C goes to the command, which the terminal tells too: we wait until it ends. SIGTERM and SIGHUP are passed on;
    a command that has not ended after some seconds is killed, so that there is time to write what it has left.

    Raises:
        InputError: it cannot be started.
    """
    from kregistry.errors import InputError

    with Watchdog(_GRACE_SECONDS) as watchdog:
        try:
            process = subprocess.Popen(
                command, env={**as_given(environment), **watchdog.environment}, stdout=data_descriptor()
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
            raise InputError(f"cannot run {command[0]}: {getattr(error, 'strerror', None) or error}") from error
        while True:
            try:
                return process.wait()
            except Terminated as signal:
                return _end(process, signal.number)
            except KeyboardInterrupt:
                continue


def _end(process: subprocess.Popen[bytes], number: int) -> int:
    """Pass a signal on, and kill the process if it goes on."""
    process.send_signal(number)
    end = time.monotonic() + _GRACE_SECONDS
    while True:
        try:
            return process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
        except KeyboardInterrupt:
            continue
