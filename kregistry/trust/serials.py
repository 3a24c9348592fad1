"""The serials of accepted statements, so that an older statement in place of a newer one is found.

STORE/serials/SHA256/SERIAL.json    where it came from, what it is about, and a serial that was accepted

Each thing has a directory of its own, and each serial a file of its own, so that of two processes that accept
statements about one thing at the same time none overwrites the larger serial. Smaller ones are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path

from kregistry.bounded_input import read_bounded
from kregistry.errors import StorageError
from kregistry.store import atomic, signed_json

_NAME = re.compile(r"(\d{1,20})\.json", re.ASCII)


class Serials:
    """What one store remembers.

    Args:
        store: its directory.
    """

    def __init__(self, store: Path) -> None:
        self.directory = store / "serials"

    def last(self, where: str, name: str) -> int:
        """The largest serial that was accepted; -1 if none was, or if its file is damaged.

        Args:
            where: the remote; empty for something that may come from anywhere.
            name: what the statement is about.
        """
        files = _files(self._directory_of(where, name))
        for serial in sorted(files, reverse=True):
            try:
                found = signed_json.decode(read_bounded(files[serial]))
            except (OSError, ValueError):
                continue
            if (found.get("where"), found.get("name"), found.get("serial")) == (where, name, serial):
                return serial
        return -1

    def remember(self, where: str, name: str, serial: int) -> None:
        """
        Raises:
            StorageError: the store cannot be written.
        """
        if serial <= self.last(where, name):
            return
        directory = self._directory_of(where, name)
        path = directory / f"{serial}.json"
        with atomic.storage_errors(path):
            directory.mkdir(parents=True, exist_ok=True)
            content = signed_json.encode({"where": where, "name": name, "serial": serial})
            # Not flushed to disk: there is one for each kernel, and after a power cut the newest may be forgotten.
            atomic.replace_file(path, content, durable=False)
            for smaller, old in _files(directory).items():
                if smaller < serial:
                    old.unlink(missing_ok=True)

    def try_to_remember(self, where: str, name: str, serial: int) -> None:
        """The same; a store that cannot be written remembers nothing."""
        with contextlib.suppress(StorageError):
            self.remember(where, name, serial)

    def _directory_of(self, where: str, name: str) -> Path:
        return self.directory / hashlib.sha256(f"{where}\0{name}".encode()).hexdigest()


def _files(directory: Path) -> dict[int, Path]:
    """Serial -> file, by the names of the files."""
    try:
        found = [(_NAME.fullmatch(path.name), path) for path in directory.iterdir()]
    except OSError:
        return {}
    return {int(match[1]): path for match, path in found if match}
