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
import stat
import threading
import time
from pathlib import Path

from attrs import asdict, frozen

from kregistry.bounded_input import parse_json, read_bounded
from kregistry.errors import shorten
from kregistry.store import atomic

LEASE_SECONDS = 60.0
_TOUCH_SECONDS = 10.0
#: What names no owner is a claim that is being written, for this long.
_WRITING_SECONDS = 5.0


class Claims:
    """The claims that this process holds; a thread renews them."""

    def __init__(self, directory: Path, lease_seconds: float = LEASE_SECONDS) -> None:
        self.directory = directory
        self.lease_seconds = lease_seconds
        self._held: set[Path] = set()
        #: Claims of others: their inode and time, and when we have first seen them so.
        self._seen: dict[Path, tuple[tuple[int, int] | None, float]] = {}
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

        Whatever lies at the path of a claim, and whatever it holds, it is taken over after the lease.

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
        """Give a claim back, unless another process has taken it over."""
        path = self.directory / key
        self._held.discard(path)
        if _read_owner(path) == _this_process():
            with contextlib.suppress(OSError):  # removed by others, or a read-only store: its lease ends
                path.unlink()

    def owner(self, key: str) -> str:
        """Who holds the claim of another builder, for messages: ``"process 12 on node-3"``."""
        found = _read_owner(self.directory / key)
        return f"process {found.pid} on {shorten(found.host, 60)}" if found else "another process"

    def _create(self, path: Path) -> bool:
        """Write the claim aside and link it to its path: a claim is never there without its content."""
        aside = self.directory / atomic.scratch_name(f".{path.name[:16]}")
        try:
            _write_claim(aside)
            try:
                os.link(aside, path)
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links
                return self._create_in_place(path)
        finally:
            aside.unlink(missing_ok=True)
        return True

    @staticmethod
    def _create_in_place(path: Path) -> bool:
        try:
            _write_claim(path)
        except FileExistsError:
            return False
        except OSError:  # a full disk: an empty claim would hold up the next build
            path.unlink(missing_ok=True)
            raise
        return True

    def _expired(self, path: Path) -> bool:
        """Whether a claim may be taken over: it is old, by its own clock or by ours, or its owner is dead."""
        try:
            found = path.lstat()
        except OSError:
            return False  # just released: try again later
        stamp = _stamp(found)
        if self._seen.get(path, (None, 0.0))[0] != stamp:
            self._seen[path] = (stamp, time.monotonic())
        # A clock that runs ahead: a claim that has not been touched for a lease, as we have watched it, is old too.
        watched = time.monotonic() - self._seen[path][1]
        age = max(watched, time.time() - found.st_mtime)
        if age > self.lease_seconds:
            return True
        owner = _read_owner(path)
        if owner is None:  # no claim, or one that a full disk or a kill has cut: a claim is written at once
            return age > _WRITING_SECONDS
        return owner.host == socket.gethostname() and not _alive(owner.pid)

    def _take_over(self, path: Path) -> bool:
        """Take over an old claim: of several processes, only one can rename it."""
        grave = path.with_name(atomic.scratch_name("." + path.name[:16]))
        try:
            path.rename(grave)
            found = _stamp(grave.lstat())
        except FileNotFoundError:
            return False
        if found != self._seen[path][0]:  # a new claim, of a process that was faster
            with contextlib.suppress(OSError):
                os.link(grave, path)
            atomic.remove(grave)
            return False
        atomic.remove(grave)
        return self._create(path)

    def _touch(self) -> None:
        while not self._stop.wait(_TOUCH_SECONDS):
            for path in list(self._held):
                with contextlib.suppress(OSError):
                    os.utime(path)


def _write_claim(path: Path) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(_this_process()), file)


def _stamp(found: os.stat_result) -> tuple[int, int]:
    """Differs between two claims at one path."""
    return found.st_ino, found.st_mtime_ns


@frozen
class _Owner:
    host: str
    pid: int


def _this_process() -> _Owner:
    return _Owner(socket.gethostname(), os.getpid())


def _read_owner(path: Path) -> _Owner | None:
    """The owner that a claim names; ``None`` if it is no claim of ours: then only its age counts."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        content = parse_json(read_bounded(path, 4096))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    host, pid = content.get("host"), content.get("pid")
    if isinstance(host, str) and type(pid) is int and 0 < pid < 1 << 31:
        return _Owner(host, pid)
    return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
