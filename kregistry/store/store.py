"""The store: a directory of cubins by content key, which does not depend on paths or on the machine.

STORE/format                            the format of the entries: see old_format.py
STORE/kernels/KE/KEY.../kernel.cubin    the machine code
                        kernel.json     its key, sha256, size, name, symbol, compiler, host, seconds, and a digest
STORE/broken/KE/KEY.json                kernels that do not compile (see failures.py)
STORE/claims/KEY                        the process that is compiling the kernel now (to avoid double work)
STORE/tmp/                              incomplete files
STORE/costs.json                        compile seconds of each family, to start the longest first
STORE/plans/            plans that are kept, for later commands and for warm-up
STORE/builds/           logs of builds, for `kregistry report`
STORE/usage/            counts of hits and misses, for `kregistry stats`
STORE/ptx_bytes.json                    bytes of PTX by family, to predict the size of kernels
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from kregistry.bounded_input import MIB, read_bounded
from kregistry.kernel import Kernel
from kregistry.store import atomic, old_format, signed_json
from kregistry.store.cubin import DamagedCubin, single_kernel
from kregistry.store.listing import matching
from kregistry.user_cache import user_cache

CUBIN = "kernel.cubin"
RECORD = "kernel.json"
#: The largest cubin that is read.
MAX_CUBIN_BYTES = 256 * MIB
#: Scratch files of dead processes are removed after this time.
_ABANDONED_SECONDS = 3600.0
#: Directories whose files are written aside and renamed.
_WRITTEN_ASIDE = ("plans", "builds", "front_ends", "usage", "serials")
#: The use of a kernel is noted at most once in this time.
_NOTED_SECONDS = 86400.0
_log = logging.getLogger("kregistry.store")
#: Stores that this process has warned of.
_WARNED: set[Path] = set()


@frozen
class StoredKernel:
    """A kernel in the store, intact when it was read.

    Attributes:
        cubin: the file.
        sha256: sha256 of its content, in hex.
        nbytes: its size in bytes.
        seconds: compile time in seconds.
    """

    cubin: Path
    sha256: str
    nbytes: int
    seconds: float


@frozen
class KernelContent:
    """The content of a kernel's two files, which belong together."""

    record: bytes
    cubin: bytes


class DamagedEntry(Exception):
    """An entry of the store is damaged and cannot be used; the text says why."""


class OutdatedEntry(DamagedEntry):
    """The entry has the format of kregistry 0.1.0, whose records are not bound to their key."""


def check_content(key: str, record: Mapping[str, Any], cubin: bytes) -> None:
    """Check that a record and a cubin are those of a kernel.

    Raises:
        DamagedEntry: they are another kernel's, or the cubin is damaged.
        KeyError: the record has no key or no digest.
    """
    owner, expected = record["key"], record["sha256"]
    if owner != key:
        raise DamagedEntry(f"it is the entry of another kernel, {str(owner)[:64]}")
    if hashlib.sha256(cubin).hexdigest() != expected:
        raise DamagedEntry("the cubin's sha256 differs from the recorded one")
    try:
        single_kernel(cubin)
    except DamagedCubin as error:
        raise DamagedEntry(str(error)) from error


class Store:
    """A directory of kernels; every method is safe for concurrent processes on one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def default(cls, environment: Mapping[str, str] = os.environ) -> Store:
        """``KREGISTRY_STORE``, else below the user's cache directory."""
        named = environment.get("KREGISTRY_STORE")
        return cls(Path(named) if named else user_cache() / "store")

    def open(self) -> int:
        """Create the directory, check that it is writable, and remove scratch files of dead processes.

        Returns:
            the number of kernels that an older kregistry had left, and that were removed; see :mod:`old_format`.

        Raises:
            StorageError: the directory cannot be written, or a newer kregistry has filled it.
        """
        with atomic.storage_errors(self.directory):
            for name in ("kernels", "claims", "tmp"):
                (self.directory / name).mkdir(parents=True, exist_ok=True)
            probe = self.scratch("probe")
            probe.touch()
            probe.unlink(missing_ok=True)
        self.warn_of_others()
        for name in ("tmp", "claims"):  # a claim is touched every few seconds
            atomic.remove_abandoned(self.directory / name, _ABANDONED_SECONDS)
        for place in (self.directory, *(self.directory / name for name in _WRITTEN_ASIDE)):
            atomic.remove_leftovers(place, _ABANDONED_SECONDS)
        return old_format.renew(self.directory)

    @property
    def read_only(self) -> bool:
        """Whether there is a store that this process may read and not write: of another user, or a read-only mount."""
        places = (self.directory, *(self.directory / name for name in ("kernels", "claims", "tmp")))
        return any(place.is_dir() and not os.access(place, os.W_OK | os.X_OK) for place in places)

    def scratch(self, kind: str) -> Path:
        """A path for something incomplete, on the same file system as the entries."""
        return self.directory / "tmp" / atomic.scratch_name(kind)

    def entry(self, key: str) -> Path:
        return self.directory / "kernels" / key[:2] / key

    def is_empty(self) -> bool:
        """Whether the store holds no kernel at all, intact or not."""
        return not any(matching(self.directory / "kernels", "??/*"))

    def get(self, key: str) -> StoredKernel | None:
        """The kernel, after its content was checked; ``None`` if it is not in the store.

        Raises:
            DamagedEntry: the entry exists but is damaged.
        """
        found = self._read(key)
        return None if found is None else found[0]

    def content(self, key: str) -> KernelContent | None:
        """What the files of a kernel hold, checked like :meth:`get`: its entry may disappear at any time.

        Raises:
            DamagedEntry: the entry exists but is damaged.
        """
        found = self._read(key)
        return None if found is None else found[1]

    def _read(self, key: str) -> tuple[StoredKernel, KernelContent] | None:
        try:
            return _read_entry(self.entry(key), key)
        except DamagedEntry:
            # Another process may have put or replaced the entry between our looks at its two files. It does so in one
            # step: a second look says what is there.
            return _read_entry(self.entry(key), key)

    def note_use(self, key: str) -> None:
        """Note that a build or a server uses a kernel, for ``kregistry gc``: by the time of its record, once a day.

        In a store that this process cannot write, nothing is noted.
        """
        record = self.entry(key) / RECORD
        with contextlib.suppress(OSError):
            if time.time() - record.stat().st_mtime > _NOTED_SECONDS:
                os.utime(record)

    def put(self, kernel: Kernel, cubin: bytes, compiler: str, seconds: float) -> StoredKernel:
        """Publish a compiled kernel. If another process was faster, its kernel is kept.

        Raises:
            StorageError: the disk is full or cannot be written.
        """
        record = {
            "key": kernel.key,
            "name": kernel.name,
            "symbol": single_kernel(cubin),
            "sha256": hashlib.sha256(cubin).hexdigest(),
            "bytes": len(cubin),
            "seconds": round(seconds, 3),
            "compiler": compiler,
            "host": platform.machine(),
            "flags": list(kernel.command.flags),
        }
        self.publish(kernel.key, cubin, signed_json.encode(record))
        return StoredKernel(self.entry(kernel.key) / CUBIN, record["sha256"], len(cubin), seconds)  # type: ignore[arg-type]

    def publish(self, key: str, cubin: bytes, record: bytes) -> None:
        """Put a cubin and its record, which the caller has checked, in place as one entry.

        Raises:
            StorageError: the disk is full or cannot be written.
        """
        final = self.entry(key)
        with atomic.storage_errors(self.directory):
            scratch = self.scratch("entry")
            try:
                atomic.write_directory(scratch, {CUBIN: cubin, RECORD: record})
                for path in (final.parent, final):
                    atomic.make_way(path, self.scratch("damaged"))
                atomic.publish_directory(scratch, final)
            except BaseException:
                shutil.rmtree(scratch, ignore_errors=True)
                raise

    def discard(self, key: str) -> None:
        """Remove an entry, whatever it is.

        Raises:
            StorageError: the store cannot be written.
        """
        with atomic.storage_errors(self.directory):
            atomic.remove(self._set_aside(key))

    def discard_damaged(self, key: str) -> None:
        """Remove an entry that was found damaged, unless another process has replaced it by an intact one since.

        Raises:
            StorageError: the store cannot be written.
        """
        if _is_intact(self.entry(key), key):
            return
        with atomic.storage_errors(self.directory):
            grave = self._set_aside(key)
            if _is_intact(grave, key):  # replaced between the two steps
                atomic.publish_directory(grave, self.entry(key))
            else:
                atomic.remove(grave)

    def _set_aside(self, key: str) -> Path:
        """The new path of an entry; nothing is there if there was none."""
        entry, grave = self.entry(key), self.scratch("damaged")
        atomic.make_way(entry.parent, self.scratch("damaged"))
        with contextlib.suppress(FileNotFoundError):
            entry.rename(grave)
            os.utime(grave, follow_symlinks=False)  # or a process that opens the store would take it for abandoned
        return grave

    def warn_of_others(self) -> None:
        """Warn once in a process if others can write the store: what it holds runs in servers."""
        place = self.directory.absolute()
        try:
            found = place.stat()
        except OSError:
            return
        who = ""
        if found.st_uid not in (0, os.getuid()):
            who = f"user {found.st_uid}, who owns it"
        elif found.st_mode & 0o002:
            who = "everybody"
        elif found.st_mode & 0o020 and found.st_gid not in (0, os.getgid()):
            who = f"group {found.st_gid}"
        if who and place not in _WARNED:
            _WARNED.add(place)
            _log.warning("the store %s can be written by %s: see `kregistry docs security`", place, who)


def _read_entry(entry: Path, key: str) -> tuple[StoredKernel, KernelContent] | None:
    """The kernel in the directory of an entry, after its content was checked; ``None`` if there is no such directory.

    Raises:
        DamagedEntry: it is damaged.
    """
    if any(path.is_symlink() for path in (entry, entry / RECORD, entry / CUBIN)):
        raise DamagedEntry("it is a link, and what a store holds is inside of it")
    try:
        text = read_bounded(entry / RECORD)
        record = signed_json.decode(text)
        content = read_bounded(entry / CUBIN, MAX_CUBIN_BYTES)
        seconds, sha256 = float(record["seconds"]), record["sha256"]
        check_content(key, record, content)
    except FileNotFoundError as error:
        if not os.path.lexists(entry):
            return None
        raise DamagedEntry(f"{Path(error.filename).name} is missing") from error
    except OSError as error:
        raise DamagedEntry(str(error)) from error
    except signed_json.NotSigned as error:
        raise OutdatedEntry(f"{RECORD} has the format of kregistry 0.1.0, without a digest") from error
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedEntry(f"{RECORD} is not a record of a kernel: {error}") from error
    return StoredKernel(entry / CUBIN, sha256, len(content), seconds), KernelContent(text, content)


def _is_intact(entry: Path, key: str) -> bool:
    try:
        return _read_entry(entry, key) is not None
    except DamagedEntry:
        return False
