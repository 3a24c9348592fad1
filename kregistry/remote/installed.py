"""Kernels that installed wheels have brought: tiers that are only read, and need no package but kregistry."""

from __future__ import annotations

import re
from functools import cache
from importlib import metadata
from pathlib import Path

from kregistry.bounded_input import read_bounded
from kregistry.remote.tier import Tier, TierError
from kregistry.store.packed import MAX_BYTES

#: Entry points of distributions with kernels: name of the distribution -> its package.
WHEELS = "kregistry.kernels"
_PACKAGE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
#: A signature comes on top of a kernel.
_LARGEST = MAX_BYTES + (1 << 20)


class InstalledTier(Tier):
    """The kernels of one distribution.

    Args:
        name: of its entry point.

    Raises:
        TierError: no such distribution is installed, or its files are missing.
    """

    read_only = True

    def __init__(self, name: str) -> None:
        directory = installed_wheels().get(name)
        if directory is None:
            raise TierError("no such wheel is installed")
        if not directory.is_dir():
            raise TierError(f"its files are missing: {directory}")
        self.name = f"wheel:{name}"
        self._directory = directory

    def get(self, name: str) -> bytes | None:
        try:
            return read_bounded(self._directory / name, _LARGEST)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise TierError(str(error)) from error

    def put(self, name: str, content: bytes) -> None:
        raise TierError("an installed wheel is never changed")

    def has(self, name: str) -> bool:
        return (self._directory / name).is_file()


@cache
def installed_wheels() -> dict[str, Path]:
    """Name -> directory of every installed distribution with kernels. None of their code is imported."""
    found: dict[str, Path] = {}
    for entry_point in metadata.entry_points(group=WHEELS):
        if entry_point.dist is not None and _PACKAGE.fullmatch(entry_point.value):
            found.setdefault(entry_point.name, Path(str(entry_point.dist.locate_file(entry_point.value))))
    return dict(sorted(found.items()))
