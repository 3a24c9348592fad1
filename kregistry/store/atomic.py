"""Publishing files without locks: write to scratch, flush to disk, rename. Readers never see incomplete data."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from kregistry.errors import StorageError
from kregistry.errors import storage_errors as storage_errors

#: Files of dead processes, written aside, are removed after this time.
ABANDONED_SECONDS = 3600.0
_LOST_RACE = (errno.EEXIST, errno.ENOTEMPTY)


def scratch_name(kind: str) -> str:
    """A name that no other process uses: ``kind.PID.RANDOM``."""
    return f"{kind}.{os.getpid()}.{uuid.uuid4().hex[:12]}"


def write_output(path: Path, content: bytes) -> None:
    """Write what a user has asked for: a file in one step, at the end of links; a pipe or a terminal directly.

    What killed processes have left of the same file is removed.

    Raises:
        StorageError: it cannot be written; a file that was there is unchanged.
    """
    try:
        if path.is_file() or not path.exists():
            final = path.resolve()
            remove_leftovers(final.parent, ABANDONED_SECONDS, f".{final.name}.")
            replace_file(final, content)
        else:
            path.write_bytes(content)  # a directory raises an error
    except OSError as error:  # its file name may be the one that was written aside
        raise StorageError.from_oserror(OSError(error.errno, error.strerror), path) from error


def write_durably(path: Path, content: bytes) -> None:
    """Write a new file and flush it to disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Create or replace a file in one step.

    Args:
        durable: flush it to disk first, which may wait for the disk. Without that, readers still see the old content
            or the new one, unless the machine itself fails.
    """
    scratch = path.parent / scratch_name("." + path.name)
    try:
        write_durably(scratch, content) if durable else scratch.write_bytes(content)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def create_file(path: Path, content: bytes) -> None:
    """Create a file in one step. What is there by then stays."""
    scratch = path.parent / scratch_name("." + path.name)
    try:
        write_durably(scratch, content)
        try:
            os.link(scratch, path)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
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
    """Create a directory with these files, whose names may have directories of their own, flushed to disk."""
    scratch.mkdir(parents=True)
    for name, content in files.items():
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
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


_SCRATCH_NAME = re.compile(r"\.?.+\.\d+\.[0-9a-f]{12}")


def remove_leftovers(directory: Path, older_than_seconds: float, prefix: str = ".") -> None:
    """Remove what killed processes have left of files that they wrote aside, by its name and its age.

    Args:
        directory: where they lie.
        older_than_seconds: age.
        prefix: with which their names start.
    """
    _remove(
        directory,
        older_than_seconds,
        lambda name: name.startswith(prefix) and _SCRATCH_NAME.fullmatch(name) is not None,
    )


def make_way(path: Path, aside: Path) -> None:
    """Remove what lies where a directory should be: a file, a named pipe, a link to nowhere.

    Args:
        path: of the directory; where there is one, or a link to one, nothing happens.
        aside: a path in the same file system, to which it is renamed first.
    """
    if not os.path.lexists(path) or path.is_dir():  # in this order: another process may make the directory meanwhile
        return
    aside.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        path.rename(aside)
        if aside.is_dir() and not aside.is_symlink():  # it has made the directory between the two steps
            publish_directory(aside, path)
        else:
            aside.unlink()


def clear_directory(path: Path, aside: Path) -> None:
    """Remove a directory that lies where a file should be.

    Args:
        path: of the file; where there is no directory, nothing happens.
        aside: a path in the same file system, to which it is renamed first.
    """
    if path.is_dir() and not path.is_symlink():
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            path.rename(aside)
        remove(aside)


def remove(path: Path) -> None:
    """Remove whatever lies at a path, if there is anything; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_abandoned(directory: Path, older_than_seconds: float) -> None:
    """Remove everything that is older than this: killed processes have left it."""
    _remove(directory, older_than_seconds, lambda name: True)


def _remove(directory: Path, older_than_seconds: float, wanted: Callable[[str], bool]) -> None:
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            with contextlib.suppress(OSError):
                found = path.lstat()
                if wanted(path.name) and time.time() - found.st_mtime > older_than_seconds:
                    shutil.rmtree(path) if stat.S_ISDIR(found.st_mode) else path.unlink()
