"""Which code is the author's: neither kregistry's nor torch's."""

from __future__ import annotations

import importlib.util
import os
from functools import lru_cache
from pathlib import Path


def is_authors(filename: str) -> bool:
    """Whether the file of a frame belongs to the author of a kernel type, or to a library of theirs."""
    return not filename.startswith(_folders())


@lru_cache(maxsize=1)
def _folders() -> tuple[str, ...]:
    """The folders of kregistry and torch; a project of the author may have such a name too."""
    torch = importlib.util.find_spec("torch")
    found = [Path(__file__).parents[1], *((Path(torch.origin).parent,) if torch and torch.origin else ())]
    return tuple(f"{folder}{os.sep}" for folder in found)
