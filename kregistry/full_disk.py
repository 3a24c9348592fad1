"""Whether a disk is full: what a program says of its input there is no verdict."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from kregistry.errors import StorageError, shorten

_SAID = re.compile(r"No space left on device|Disk quota exceeded|write error", re.IGNORECASE)
_MIB = 1 << 20


def raise_if_full(directory: Path, needed: int, said: str = "", *, probe: bool = True) -> None:
    """Raise an error if a program may have failed because it could not write.

    Args:
        directory: where it wrote.
        needed: bytes that it may have needed there.
        said: what it printed.
        probe: also write a small file, which finds a quota.

    Raises:
        StorageError: it says so, or less than ``needed`` bytes or no file can be added.
    """
    match = _SAID.search(said)
    if match:
        raise _error(directory, f"the disk is full: {shorten(said.strip().splitlines()[-1])}")
    try:
        found = os.statvfs(directory)
    except OSError:
        return  # e.g. it was removed meanwhile
    free = found.f_bavail * found.f_frsize
    if free < needed:
        raise _error(directory, f"the disk is full: {free / _MIB:.1f} of {needed / _MIB:g} MiB are free")
    if found.f_files and not found.f_favail:
        raise _error(directory, "the disk is full: no file can be added")
    if probe and not _can_write(directory):
        raise _error(directory, "the disk is full, or a quota is exceeded")


def _can_write(directory: Path) -> bool:
    """Whether a file can be written: a quota does not show in what the file system says is free."""
    path = directory / f".probe.{os.getpid()}.{os.urandom(6).hex()}"
    try:
        path.write_bytes(bytes(1 << 16))
    except OSError as error:
        return error.errno not in (errno.ENOSPC, errno.EDQUOT)
    finally:
        path.unlink(missing_ok=True)
    return True


def _error(directory: Path, text: str) -> StorageError:
    return StorageError(str(directory), text, "free some space; nothing is known of what was compiled there")
