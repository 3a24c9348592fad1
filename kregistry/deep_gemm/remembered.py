"""Digests of header trees, remembered on this machine until a file or directory that decides them changes.

Reading a thousand headers takes a tenth of a second of every start of a server; asking for their times takes three
milliseconds. A remembered digest holds the times and the size of every file that was read, and of every directory in
which a file was looked for, since a new file there could be found first. The time of the last change of the inode is
one of them: `cp -p` and archives set the other one to what it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from kregistry.bounded_input import parse_json, read_bounded
from kregistry.store.atomic import ABANDONED_SECONDS, remove_leftovers, replace_file
from kregistry.user_cache import user_cache

#: A file that was changed less than this long ago could change again without a new time. Nanoseconds.
_SETTLED = 2_000_000_000
Stat = tuple[int, int, int] | None


def remembered(key: str, compute: Callable[[], tuple[str, Iterable[str]]]) -> str:
    """A digest, from memory if nothing has changed.

    Args:
        key: what the digest is of, in hexadecimal; it becomes the name of a file.
        compute: gives the digest and the paths that decide it: files that were read, and directories.
    """
    place = user_cache() / "headers" / f"{key}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        content = _read(place)
        if all(_stat(path) == (tuple(known) if known else None) for path, known in content["paths"].items()):
            return str(content["digest"])
    started = time.time_ns()
    digest, paths = compute()
    stats = {path: _stat(path) for path in paths}
    if all(each is None or each[0] < started - _SETTLED for each in stats.values()):
        with contextlib.suppress(OSError):
            _write(place, json.dumps({"digest": digest, "paths": stats}).encode())
    return digest


def _stat(path: str) -> Stat:
    """(modification time in ns, change time in ns, size); ``None`` if there is nothing."""
    try:
        found = os.stat(path)  # noqa: PTH116  # a thousand times for each start of a server
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _read(place: Path) -> Any:
    """
    Raises:
        OSError, ValueError: there is no such file, or it is not as it was written.
    """
    checksum, _, text = read_bounded(place).partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != checksum:
        raise ValueError("it was changed after it was written")
    return parse_json(text)


def _write(place: Path, text: bytes) -> None:
    """Write a line with a checksum, and the text. A wrong digest would have no end: nothing else checks it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(place.parent, ABANDONED_SECONDS)
    replace_file(place, hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
