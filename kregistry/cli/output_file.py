"""Files that a user asks for with -o: the path is checked before the work, and no file of others is replaced."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import click

from kregistry.errors import InputError, StorageError

_MARK = "# written by kregistry; sha256 of the other lines: "
_LARGEST = 16 << 20

force_option = click.option("--force", is_flag=True, help="Replace the file of -o, whatever it holds.")


def with_digest(text: str) -> str:
    """A text of comments and YAML, with a first line by which an unedited file is known."""
    return f"{_MARK}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def is_own_output(path: Path) -> bool:
    """Whether a file is what :func:`with_digest` made, and nobody has edited it since."""
    from kregistry.bounded_input import read_bounded

    try:
        first, _, rest = read_bounded(path, _LARGEST).decode().partition("\n")
    except (OSError, ValueError):
        return False
    return first == _MARK + hashlib.sha256(rest.encode()).hexdigest()


def is_lock_file(path: Path) -> bool:
    """Whether a file is a lock file: these hold nothing that people write."""
    from kregistry.errors import KregistryError
    from kregistry.plan.plan_file import read_plan

    try:
        read_plan(path)
    except KregistryError:
        return False
    return True


def check_output(path: Path | None, force: bool, is_own: Callable[[Path], bool] = is_own_output) -> None:
    """Refuse a path that cannot be written, or a file that is not ours; before the work, whose result would be lost.

    Args:
        path: of -o; ``None`` and ``-`` are standard output.
        force: replace any file.
        is_own: whether a file is our own output.

    Raises:
        InputError: the file is not our own output.
        StorageError: it cannot be written, or it is a directory.
    """
    if path is None or str(path) == "-":
        return
    try:
        if path.is_dir():
            raise StorageError(str(path), "Is a directory")
        if path.is_file():
            if not force and not is_own(path):
                raise InputError(
                    f"{path} exists, and is not an unedited output of this command",
                    "--force replaces it; or name another file with -o",
                )
        elif path.exists():
            return  # a pipe or a terminal
        parent = path.resolve().parent
        if not parent.is_dir():
            raise StorageError(str(path), "No such file or directory", f"{parent} does not exist")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise StorageError(str(path), "Permission denied", "name a file in a writable directory")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def write_or_rescue(path: Path, text: str) -> None:
    """Write a result that took long to get: if its file cannot be written, it goes to another place.

    Raises:
        StorageError: the file cannot be written; the hint says where the text is instead.
    """
    from kregistry.cli.output import say
    from kregistry.scratch import scratch_root
    from kregistry.store.atomic import write_output

    try:
        write_output(path, text.encode(errors="backslashreplace"))
    except StorageError as error:
        rescue = scratch_root() / f"kregistry-rescued-{os.getpid()}-{path.name}"
        try:
            write_output(rescue, text.encode(errors="backslashreplace"))
        except StorageError:
            say(text)
            raise StorageError(error.path, error.text, "the text is above, on standard error") from error
        raise StorageError(error.path, error.text, f"the text is in {rescue}") from error
