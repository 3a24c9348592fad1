"""Loads from disk: a cubin of the JIT cache that is read after warm-up, seen with inotify.

A load is cheap (a kernel that is on disk and not in memory), yet it means that warm-up left something out. The kernel
tells of opened files, not of who opened them: every process of this machine that shares the cache directory counts.
A cubin counts once.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from kregistry.errors import StorageError

_IN_OPEN, _IN_CREATE, _IN_MOVED_TO, _IN_ONLYDIR = 0x20, 0x100, 0x80, 0x01000000
_HEAD = struct.Struct("iIII")


def cache_directories() -> tuple[Path, ...]:
    """Where the DeepGEMM of this process keeps kernels: ``DG_JIT_CACHE_DIR``, or the default of either version."""
    named = os.environ.get("DG_JIT_CACHE_DIR") or os.environ.get("DJ_JIT_CACHE_DIR")
    roots = [Path(part) for part in named.split(":")] if named else [Path("~/.deep_gemm"), Path("~/.dj")]
    return tuple(root.expanduser() / "cache" for root in roots)


class LoadWatcher:
    """Watches the kernel directories of some cache directories; :meth:`read` when :attr:`descriptor` is readable.

    Raises:
        StorageError: the kernel has no inotify, or no watch left.
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
            for kernel in sorted(each for each in root.iterdir() if each.is_dir()):
                self._watch(kernel, _IN_OPEN)

    def _watch(self, directory: Path, events: int) -> None:
        watch = self._libc.inotify_add_watch(self.descriptor, os.fsencode(directory), events | _IN_ONLYDIR)
        if watch < 0:
            number = ctypes.get_errno()
            raise StorageError(str(directory), os.strerror(number), "raise fs.inotify.max_user_watches")
        self._paths[watch] = directory

    def read(self) -> None:
        """Take what has happened since the last time."""
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
            # A kernel that was just compiled: its own first read is part of the compile, which is told of.
            self._seen.add(path)
        elif name.endswith(".cubin") and directory not in self._seen:
            self._seen.add(directory)
            self._on_load(str(path))

    def close(self) -> None:
        os.close(self.descriptor)
