"""The serials of accepted statements, so that an older statement in place of a newer one is found.

STORE/serials/SHA256.json    where it came from, what it is about, and the largest serial that was accepted

Each thing has a file of its own, so that processes that accept different things do not overwrite each other's.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from kregistry.bounded_input import read_bounded
from kregistry.errors import StorageError
from kregistry.store import atomic, signed_json


class Serials:
    """What one store remembers.

    Args:
        store: its directory.
    """

    def __init__(self, store: Path) -> None:
        self.directory = store / "serials"

    def last(self, where: str, name: str) -> int:
        """The largest serial that was accepted; -1 if none was, or if the file is damaged.

        Args:
            where: the remote; empty for something that may come from anywhere.
            name: what the statement is about.
        """
        try:
            found = signed_json.decode(read_bounded(self._path(where, name)))
        except (OSError, ValueError):
            return -1
        serial = found.get("serial")
        return serial if type(serial) is int and (found.get("where"), found.get("name")) == (where, name) else -1

    def remember(self, where: str, name: str, serial: int) -> None:
        """
        Raises:
            StorageError: the store cannot be written.
        """
        if serial <= self.last(where, name):
            return
        path = self._path(where, name)
        with atomic.storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Not flushed to disk: there is one for each kernel, and after a power cut the newest may be forgotten.
            aside = path.parent / atomic.scratch_name(f".{path.name[:16]}")
            try:
                aside.write_bytes(signed_json.encode({"where": where, "name": name, "serial": serial}))
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)

    def try_to_remember(self, where: str, name: str, serial: int) -> None:
        """The same; a store that cannot be written remembers nothing."""
        with contextlib.suppress(StorageError):
            self.remember(where, name, serial)

    def _path(self, where: str, name: str) -> Path:
        digest = hashlib.sha256(f"{where}\0{name}".encode()).hexdigest()
        return self.directory / f"{digest}.json"
