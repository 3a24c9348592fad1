"""Claims: a process claims a kernel while it compiles it, so that builders on one store share the work.

A claim is a file that only one process can create (O_EXCL). It is a lease: its owner touches it while working. Another
process may take it over if it is old, or if its owner was on this host and is dead. Correctness does not depend on
claims: with two owners the kernel would be compiled twice, and publishing is atomic. flock is not used, because on
common NFS mounts it is local to a node.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from pathlib import Path

from kregistry.store import atomic

LEASE_SECONDS = 60.0
_TOUCH_SECONDS = 10.0


class Claims:
    """The claims that this process holds; a thread renews them."""

    def __init__(self, directory: Path, lease_seconds: float = LEASE_SECONDS) -> None:
        self.directory = directory
        self.lease_seconds = lease_seconds
        self._held: set[Path] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Claims:
        self._thread = threading.Thread(target=self._touch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for path in list(self._held):
            self.release(path.name)

    def acquire(self, key: str) -> bool:
        """Try to claim a kernel, until the claim is released or this context ends. Returns whether it succeeded.

        Raises:
            StorageError: the claim cannot be written.
        """
        path = self.directory / key
        with atomic.storage_errors(path):
            owned = self._create(path) or (self._expired(path) and self._take_over(path))
        if owned:
            self._held.add(path)
        return owned

    def release(self, key: str) -> None:
        path = self.directory / key
        self._held.discard(path)
        path.unlink(missing_ok=True)

    def _create(self, path: Path) -> bool:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w") as file:
            json.dump({"host": socket.gethostname(), "pid": os.getpid()}, file)
        return True

    def _expired(self, path: Path) -> bool:
        try:
            age = time.time() - path.stat().st_mtime
            owner = json.loads(path.read_text() or "null")
        except (OSError, ValueError):
            return False  # just released, or being written: try again later
        if age > self.lease_seconds:
            return True
        return owner is not None and owner["host"] == socket.gethostname() and not _alive(owner["pid"])

    def _take_over(self, path: Path) -> bool:
        """Take over an old claim: of several processes, only one can rename it."""
        grave = path.with_name(atomic.scratch_name("." + path.name))
        try:
            path.rename(grave)
        except FileNotFoundError:
            return False
        grave.unlink(missing_ok=True)
        return self._create(path)

    def _touch(self) -> None:
        while not self._stop.wait(_TOUCH_SECONDS):
            for path in list(self._held):
                with contextlib.suppress(OSError):
                    os.utime(path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
