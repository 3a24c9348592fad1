"""Reads input within limits: nothing that a file holds, or is, costs more than a stated amount of memory and time.

A file may be damaged, hostile or simply the wrong one. These functions refuse what is too large, nested too deeply or
not text. :func:`read_input` and :func:`read_input_text` read files that a user names, and raise errors that name them;
:func:`read_bounded` and :func:`parse_json` read files of our own, which their readers do without.
"""

from __future__ import annotations

import json
import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from kregistry.errors import InputError, StorageError, shorten

MIB = 1 << 20
#: Largest size in bytes of a file that holds one JSON value: a lock file, a plan, a config.json, a record of the store.
MAX_JSON_BYTES = 16 * MIB
#: Largest size in bytes of a file of JSON lines, and of one line.
MAX_LINES_BYTES = 256 * MIB
MAX_LINE_BYTES = 1 * MIB
#: Deepest nesting of JSON and YAML.
MAX_DEPTH = 64
#: Numbers beyond 64 bits are refused: no dimension, size or count needs them, and Python refuses to print large ones.
MAX_INTEGER = (1 << 63) - 1
_MAX_DIGITS = 400


def read_bounded(path: str | Path, limit: int = MAX_JSON_BYTES) -> bytes:
    """The content of a file of at most ``limit`` bytes.

    A named pipe that nobody writes to counts as empty, so that nothing waits for it.

    Raises:
        OSError: the file cannot be read; a directory is an :class:`IsADirectoryError`.
        ValueError: it is larger.
    """
    with open_input(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"larger than {limit / MIB:g} MiB")
    return content


def begins_with(path: str | Path, start: bytes) -> bool:
    """Whether a file begins with these bytes, after spaces; not if it cannot be read: whoever reads it says why."""
    try:
        with open_input(path) as file:
            return file.read(64).lstrip().startswith(start)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False


def read_input(path: str | Path, limit: int = MAX_JSON_BYTES) -> bytes:
    """The same for a file that a user names.

    Raises:
        InputError: there is no such file, it is a directory, or it is too large.
        StorageError: the file cannot be read.
    """
    try:
        return read_bounded(path, limit)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except OSError as error:
        raise StorageError.from_oserror(error, path) from error
    except ValueError as error:  # too large, or a NUL in the name
        raise InputError(f"{shorten(str(path))}: {error}") from error


def read_input_text(path: str | Path, limit: int = MAX_JSON_BYTES) -> str:
    """The same, as text.

    Raises:
        InputError: as :func:`read_input`, or it is not UTF-8.
        StorageError: the file cannot be read.
    """
    try:
        return read_input(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error


def parse_json(content: bytes | str) -> Any:
    """One JSON value.

    Raises:
        ValueError: it is not JSON, or nested too deeply, or holds a number that no double and no 64-bit integer is.
    """
    try:
        value = json.loads(content, parse_int=_integer, parse_float=_float, parse_constant=_constant)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            part
            for each in level
            if isinstance(each, (dict, list))
            for part in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return value
    raise ValueError(_TOO_DEEP)


def lines_of(path: str | Path) -> Iterator[tuple[int, bytes | None]]:
    """The numbered lines of a file, with their line ends; ``None`` in place of a line that is too long.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is too large.
    """
    total, number = 0, 0
    with open_input(path) as file:
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            whole = line.endswith(b"\n") or len(line) < MAX_LINE_BYTES
            total += len(line)
            rest = b"" if whole else line
            while rest and not rest.endswith(b"\n"):
                rest = file.readline(MAX_LINE_BYTES)
                total += len(rest)
                if total > MAX_LINES_BYTES:
                    break
            if total > MAX_LINES_BYTES:
                raise ValueError(f"larger than {MAX_LINES_BYTES / MIB:g} MiB")
            yield number, line if whole else None


def open_input(path: str | Path) -> BinaryIO:
    """Open a file; a named pipe that nobody writes to counts as empty.

    Raises:
        OSError: it cannot be opened; a directory is an :class:`IsADirectoryError`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # or it waits for a writer of a named pipe
    try:
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException as error:  # a directory
        os.close(descriptor)
        if isinstance(error, OSError):
            error.filename = str(path)  # it would be the number of the descriptor
        raise


_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"


def _integer(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) > MAX_INTEGER:
        raise ValueError(f"an integer beyond 64 bits: {shorten(digits, 30)}")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits) if len(digits) <= _MAX_DIGITS else float("inf")
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"a number beyond the range of doubles: {shorten(digits, 30)}")
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def is_readable(descriptor: int, seconds: float) -> bool:
    """Wait until a descriptor can be read, or is at its end; whether that was so within this time."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(1000 * seconds))
