"""Bundles: the kernels of one plan in one file, the same to the byte wherever it is made.

A bundle is a tar file, compressed with gzip. It has the layout of a directory remote, so that it can be unpacked and
used as one, and read as it is.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, cast

from kregistry.bounded_input import open_input
from kregistry.errors import shorten
from kregistry.remote.tier import Tier, TierError
from kregistry.store.packed import MAX_BYTES

#: What a bundle may hold: objects of kernels, and the lock file.
_NAME = re.compile(r"v1/kernels/[0-9a-f]{2}/[0-9a-f]{64}")
LOCK_NAME = "kernels.lock"
#: Limits of a bundle: a small file can hold a lot of nothing, and what is read stays in memory.
MAX_MEMBERS = 100_000
MAX_TOTAL = 512 << 20
_BLOCK = tarfile.BLOCKSIZE


def tar_of(objects: Iterable[tuple[str, bytes]]) -> bytes:
    """A tar file of objects, sorted by their names, without times and owners."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in sorted(objects):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def compressed(tar: bytes) -> bytes:
    """The same bytes on every machine: gzip notes neither a name nor a time."""
    return gzip.compress(tar, compresslevel=9, mtime=0)


class BundleTier(Tier):
    """A bundle as a tier that is only read. Nothing is unpacked to disk.

    Raises:
        TierError: it is no bundle: it holds a link, a path that leads elsewhere, or more than the limits allow.
    """

    read_only = True

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._objects: dict[str, bytes] = {}
        try:
            with open_input(path) as file, gzip.GzipFile(fileobj=file) as tar:
                self._read(cast(BinaryIO, tar))
        except (OSError, EOFError, tarfile.TarError, ValueError) as error:
            raise TierError(f"it is no bundle: {shorten(str(error))}") from error
        except zlib.error as error:
            raise TierError(f"it is damaged: {error}") from error

    def get(self, name: str) -> bytes | None:
        return self._objects.get(name)

    def put(self, name: str, content: bytes) -> None:
        raise TierError("a bundle is never changed")

    def has(self, name: str) -> bool:
        return name in self._objects

    def _read(self, tar: BinaryIO) -> None:
        """Block by block: a reader of all kinds of tar files would read extended headers of any size into memory."""
        total = count = 0
        while (header := _exactly(tar, _BLOCK)) != bytes(_BLOCK):
            member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
            total += max(member.size, 0)
            count += 1
            if count > MAX_MEMBERS or total > MAX_TOTAL or member.size > MAX_BYTES:
                raise ValueError("it is larger than a bundle of kernels can be")
            plain = member.type == tarfile.REGTYPE and member.size >= 0
            if not plain or not (member.name == LOCK_NAME or _NAME.fullmatch(member.name)):
                raise ValueError(f"it holds {member.name[:80]!r}, which is not a kernel")
            content = _exactly(tar, member.size)
            _exactly(tar, -member.size % _BLOCK)
            if member.name != LOCK_NAME:
                self._objects[member.name] = content


def _exactly(file: BinaryIO, count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise EOFError("it is cut")
    return content
