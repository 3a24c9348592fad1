"""Loads from disk: cubins of the JIT cache that are read after warm-up, seen with inotify.

A load is cheap (the kernel is on disk, and is not compiled), but it means that warm-up left the kernel out. inotify
reports that a file was opened, and not by which process: all processes of this machine that share the cache directory
count. A cubin counts once.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from kregistry.errors import StorageError
from kregistry.store.listing import matching

_IN_OPEN, _IN_CREATE, _IN_MOVED_TO, _IN_ONLYDIR = 0x20, 0x100, 0x80, 0x01000000
_HEAD = struct.Struct("iIII")


class LoadWatcher:
    """Watches directories of kernels. Call :meth:`read` when :attr:`descriptor` is readable.

    Args:
        directories: each holds one directory for each kernel; those that do not exist are left out.
        on_load: called with the path of a cubin when it is opened for the first time.

    Raises:
        StorageError: the operating system has no inotify, or no watch left.
    """

    def __init__(self, directories: Iterable[Path], on_load: Callable[[str], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._on_load = on_load
        self._paths: dict[int, Path] = {}
        self._seen: set[Path] = set()
        self._roots = tuple(each for each in directories if each.is_dir())
        self.descriptor: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise StorageError("inotify", os.strerror(ctypes.get_errno()))
        for root in self._roots:
            self._watch(root, _IN_CREATE | _IN_MOVED_TO)
            for kernel in matching(root, "*/"):
                self._watch(kernel, _IN_OPEN)

    def _watch(self, directory: Path, events: int) -> None:
        watch = self._libc.inotify_add_watch(self.descriptor, os.fsencode(directory), events | _IN_ONLYDIR)
        if watch < 0:
            number = ctypes.get_errno()
            if number in (errno.ENOENT, errno.ENOTDIR):  # another process has removed it
                return
            self.close()
            raise StorageError(str(directory), os.strerror(number), "raise fs.inotify.max_user_watches")
        self._paths[watch] = directory

    def read(self) -> None:
        """Take the events since the last call."""
        try:
            data = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            watch, _, _, length = _HEAD.unpack_from(data, offset)
            name = data[offset + _HEAD.size : offset + _HEAD.size + length].rstrip(b"\0").decode(errors="replace")
            offset += _HEAD.size + length
            self._take(self._paths.get(watch), name)

    def _take(self, directory: Path | None, name: str) -> None:
        if directory is None or not name:
            return
        path = directory / name
        if directory in self._roots:
            # A kernel that was just compiled: its first read belongs to the compile, which is reported already.
            self._seen.add(path)
        elif name.endswith(".cubin") and directory not in self._seen:
            self._seen.add(directory)
            self._on_load(str(path))

    def close(self) -> None:
        """Stop watching."""
        os.close(self.descriptor)
