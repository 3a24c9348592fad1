"""Temporary directories of kregistry, at paths that every program takes literally, and removed even after a kill.

A directory is ours as long as its owner holds a lock on it (flock, which ends with the process, and works between
containers that share a directory). The next owner of a directory removes those that nobody holds.

DeepGEMM and nvcc pass paths to ``sh -c``, and ``LD_PRELOAD`` splits at spaces and colons. So a directory is only made
where its path has no character with a meaning there: in TMPDIR, or else in /tmp, /var/tmp or /dev/shm.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kregistry.errors import InputError, StorageError, shorten

_PREFIX, _HELD = "kregistry-", ".held"
#: Between the creation of a directory and its lock; nobody else removes it in this time.
_NEW_SECONDS = 60.0
_LITERAL = re.compile(r"[A-Za-z0-9_./+=@%,~-]+")
_OTHER_PLACES = ("/tmp", "/var/tmp", "/dev/shm")


def is_literal(path: str | Path) -> bool:
    """Whether shells and ``LD_PRELOAD`` take a path as it is."""
    return _LITERAL.fullmatch(str(path)) is not None


def refuse_unless_literal(path: str | Path, what: str) -> None:
    """
    Raises:
        InputError: a shell, or ``LD_PRELOAD``, would not take the path literally.
    """
    if not is_literal(path):
        raise InputError(
            f"{what} has a path that DeepGEMM or nvcc would pass to a shell: {shorten(repr(str(path)))}",
            "use a path of letters, digits and the characters _ . / + = @ % , ~ -",
        )


@contextmanager
def scratch_directory(kind: str) -> Iterator[Path]:
    """A temporary directory with a literal path, removed at the end of the block, or by a later run after a kill.

    Args:
        kind: part of its name: ``stub``, ``record`` ...

    Raises:
        StorageError: no such directory can be made.
        InputError: no directory for temporary files has a literal path.
    """
    made, hold = make_scratch(kind)
    try:
        yield made
    finally:
        remove_tree(made)
        os.close(hold)


def make_scratch(kind: str) -> tuple[Path, int]:
    """The same without a block: the directory, and a descriptor that holds it until it is closed.

    Raises:
        StorageError: the directory for temporary files cannot be written.
    """
    root = scratch_root()
    remove_abandoned(root)
    try:
        new = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}new-", dir=root))
        hold = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # without locks (some NFS) nobody removes it after a kill
            fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made = root / f"{_PREFIX}{kind}-{new.name.rpartition('-')[2]}{_HELD}"
        new.rename(made)  # only now: whoever sees this name can rely on the lock
    except OSError as error:
        raise StorageError.from_oserror(error, "the directory for temporary files (TMPDIR)") from error
    return made, hold


def scratch_root() -> Path:
    """TMPDIR if its path is literal, or else another directory for temporary files.

    Raises:
        StorageError: there is no directory for temporary files.
        InputError: none of them has a literal path.
    """
    try:
        named = tempfile.gettempdir()
    except OSError as error:
        raise StorageError.from_oserror(error, "the directory for temporary files (TMPDIR)") from error
    if is_literal(named):
        return Path(named)
    for place in _OTHER_PLACES:
        if os.access(place, os.W_OK | os.X_OK):
            return Path(place)
    refuse_unless_literal(named, "TMPDIR")
    raise AssertionError


def remove_leftovers() -> None:
    """Remove what killed runs have left, for a command that may need no temporary directory of its own."""
    with contextlib.suppress(InputError, StorageError):  # the first temporary directory would say so
        remove_abandoned(scratch_root())


def remove_abandoned(root: Path) -> None:
    """Remove the directories of runs that were killed: ours by name and by owner, and nobody holds them."""
    with contextlib.suppress(OSError):
        for path in (*root.glob(f"{_PREFIX}*{_HELD}"), *root.glob(f".{_PREFIX}new-*")):
            with contextlib.suppress(OSError):
                found = path.lstat()
                new = path.name.startswith(".") and time.time() - found.st_mtime < _NEW_SECONDS
                if new or found.st_uid != os.getuid():
                    continue
                hold = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove_tree(path)
                finally:
                    os.close(hold)


def remove_tree(path: Path) -> None:
    """Remove a directory, also while a process that is ending still writes into it."""
    for _ in range(40):  # 2 s
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(0.05)
