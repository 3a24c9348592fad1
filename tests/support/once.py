"""Made once for all workers of pytest-xdist: the first that asks makes it, the others wait and read a copy."""

from __future__ import annotations

import fcntl
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class Once:
    """Values by their names.

    Args:
        directory: the same for all workers of a run, and empty before it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, name: str, make: Callable[[], T]) -> T:
        """What ``make`` returns, in whichever worker it was called. It must be possible to pickle it."""
        path = self.directory / f"{name}.pickle"
        with (self.directory / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                value = make()
                new = path.with_suffix(".new")
                new.write_bytes(pickle.dumps(value))
                new.rename(path)
                return value
        found: T = pickle.loads(path.read_bytes())
        return found
