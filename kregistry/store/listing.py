"""The files of a directory from which other processes remove folders at the same time."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path


def matching(directory: Path, pattern: str) -> Iterator[Path]:
    """What ``directory.glob(pattern)`` finds, except names that begin with a dot.

    A folder that is removed meanwhile holds nothing: ``Path.glob`` raises FileNotFoundError for it.
    """
    return (directory / name for name in glob.iglob(pattern, root_dir=directory, recursive=True))  # noqa: PTH207
