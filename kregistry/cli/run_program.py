"""Runs a command of the user: on the stub GPU, or as it is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from kregistry.cli.output import data_descriptor


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

    Ctrl-C goes to the command, which the terminal tells too: we wait until it ends.

    Raises:
        InputError: it cannot be started.
    """
    from kregistry.errors import InputError

    try:
        process = subprocess.Popen(command, env=environment, stdout=data_descriptor())
    except OSError as error:
        raise InputError(f"cannot run {command[0]}: {error.strerror}") from error
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue
