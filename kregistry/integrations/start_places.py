"""Where the folders of starts are, and how long: beside the store, if that can be written.

Where it cannot, as in an image with a read-only root, they are among the temporary files, in a directory of this user
alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from kregistry.store import Store

log = logging.getLogger("kregistry.integrations")

#: Folders of earlier starts that are kept, for bug reports.
_KEPT = 8
#: A folder in which something was written less than this long ago may be one that is in use, in seconds.
_IN_USE_SECONDS = 3600.0
_Made = TypeVar("_Made")


def places(store: Store) -> Iterator[Path]:
    """Where the folders of starts may be: beside the store, or, where that cannot be written, among temporary files.

    Raises:
        OSError: there is no directory for temporary files.
    """
    yield store.directory / "starts"
    yield Path(tempfile.gettempdir()) / f"kregistry-starts-{os.getuid()}"


def in_the_first_place(store: Store, make: Callable[[Path], _Made]) -> _Made:
    """What ``make`` gives in the first place that can be written.

    Raises:
        OSError: none can.
    """
    failed: OSError | None = None
    for parent in _ready_places(store):
        try:
            made = make(parent)
        except OSError as error:
            failed = error
            continue
        if parent != next(places(store)):
            log.warning(
                "kregistry: the store %s cannot be written: what this start finds out is not kept. If kernels are "
                "missing there, name another directory with KREGISTRY_STORE",
                store.directory,
            )
        return made
    raise failed or PermissionError("no place for the folder of this start")


def _ready_places(store: Store) -> Iterator[Path]:
    """The places that exist, or could be made, each without the folders of old starts.

    Raises:
        OSError: none of the places can be written, as far as this tells before something is.
    """
    *_, last = all_places = tuple(places(store))
    for parent in all_places:
        try:
            parent.mkdir(mode=0o700 if parent == last else 0o777, parents=True, exist_ok=True)
            if parent == last:
                _refuse_unless_private(parent)
            _prune(parent)
        except OSError:
            if parent == last:
                raise
        else:
            yield parent


def _refuse_unless_private(parent: Path) -> None:
    """Anybody may make a directory of this name among the temporary files: only our own is used."""
    found = parent.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"{parent}: others may write there, so it is not used")


def _prune(parent: Path) -> None:
    """Keep the folders of the last starts, and those of starts that may go on, on any machine that uses the store.

    Other processes may do the same at this moment. A time in the future is one before the clock was set back.
    """
    ages: dict[Path, float] = {}
    for each in parent.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if each.is_dir():
                ages[each] = abs(time.time() - each.stat().st_mtime)
    for old in sorted(ages, key=ages.__getitem__)[_KEPT:]:
        if ages[old] > _IN_USE_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
