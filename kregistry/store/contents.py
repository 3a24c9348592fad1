"""How much a store holds."""

from __future__ import annotations

import contextlib
from typing import Any

from attrs import asdict, define

from kregistry.store.listing import matching
from kregistry.store.store import CUBIN, Store


@define
class Contents:
    """
    Attributes:
        kernels: number of entries.
        nbytes: of their cubins.
        oldest, newest: when an entry was made, in seconds since the epoch; 0 without entries.
    """

    kernels: int = 0
    nbytes: int = 0
    oldest: float = 0.0
    newest: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def contents_of(store: Store) -> Contents:
    """Count the entries of a store. None is read; what cannot be looked at is left out."""
    found = Contents()
    for cubin in matching(store.directory / "kernels", f"*/*/{CUBIN}"):
        with contextlib.suppress(OSError):
            state = cubin.stat()
            found.kernels += 1
            found.nbytes += state.st_size
            found.oldest = min(found.oldest or state.st_mtime, state.st_mtime)
            found.newest = max(found.newest, state.st_mtime)
    return found
