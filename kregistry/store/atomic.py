"""Publishing files without locks: write to scratch, flush to disk, rename. Readers never see incomplete data."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from kregistry.errors import storage_errors as storage_errors

_LOST_RACE = (errno.EEXIST, errno.ENOTEMPTY)


def scratch_name(kind: str) -> str:
    """A name that no other process uses: ``kind.PID.RANDOM``."""
    return f"{kind}.{os.getpid()}.{uuid.uuid4().hex[:12]}"


def write_durably(path: Path, content: bytes) -> None:
    """Write a new file and flush it to disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Create or replace a file in one step."""
    scratch = path.parent / scratch_name("." + path.name)
    try:
        write_durably(scratch, content)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Create a hard link, or a copy flushed to disk if the file system has no hard links."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        write_durably(target, source.read_bytes())


def publish_directory(scratch: Path, final: Path) -> bool:
    """Rename a complete directory to its final path. If another process was faster, keep its directory.

    Returns:
        Whether the directory of this process was published.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        scratch.rename(final)
    except OSError as error:
        if error.errno not in _LOST_RACE:
            raise
        shutil.rmtree(scratch, ignore_errors=True)
        return False
    flush_directory(final.parent)
    return True


def write_directory(scratch: Path, files: Mapping[str, bytes]) -> None:
    """Create a directory with these files, flushed to disk."""
    scratch.mkdir(parents=True)
    for name, content in files.items():
        write_durably(scratch / name, content)
    flush_directory(scratch)


def flush_directory(path: Path) -> None:
    """Flush the names in a directory to disk, if the file system supports it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_abandoned(directory: Path, older_than_seconds: float) -> None:
    """Remove scratch entries that are older than this: killed processes have left them."""
    import time

    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > older_than_seconds:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
