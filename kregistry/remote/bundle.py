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

from kregistry.bounded_input import read_bounded
from kregistry.errors import shorten
from kregistry.remote.gate import Gate
from kregistry.remote.tier import Tier, TierError
from kregistry.store.packed import MAX_BYTES
from kregistry.trust import envelope

#: What a bundle may hold: objects of kernels, and the lock file.
_NAME = re.compile(r"v1/kernels/[0-9a-f]{2}/[0-9a-f]{64}")
LOCK_NAME = "kernels.lock"
_OTHER_FORMAT = re.compile(r"v(?!1/)\d+/")
#: Limits of a bundle: a small file can hold a lot of nothing, and what is read stays in memory.
MAX_MEMBERS = 100_000
MAX_TOTAL = 512 << 20
#: The largest file, and how much larger than itself its content may be: that of kernels is some 10 times as large.
MAX_COMPRESSED = 256 << 20
MAX_RATIO = 64
_SMALL = 1 << 20
#: What is appended to the name of a bundle for the file with its signature.
SIGNATURE_SUFFIX = ".dsse.json"
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

    Args:
        path: the file.
        gate: checks the signature of the whole file before it is unpacked; default: none is needed.

    Raises:
        TierError: it is no bundle: it holds a link, a path that leads elsewhere, or more than the limits allow.
        NotTrusted: the gate refuses it.
    """

    read_only = True

    def __init__(self, path: Path, gate: Gate | None = None) -> None:
        self.name = str(path)
        self._places: dict[str, slice] = {}
        content, signature = _read_both(path)
        (gate or Gate()).check_bundle(content, signature)
        self._tar = _decompressed(content)
        try:
            self._read(self._tar)
        except (EOFError, tarfile.TarError, ValueError) as error:
            raise TierError(f"it is no bundle: {shorten(str(error))}") from error

    def get(self, name: str) -> bytes | None:
        place = self._places.get(name)
        return None if place is None else self._tar[place]

    def put(self, name: str, content: bytes) -> None:
        raise TierError("a bundle is never changed")

    def has(self, name: str) -> bool:
        return name in self._places

    def _read(self, tar: bytes) -> None:
        """Header by header. Only plain files have a meaning here, so no other kind of header is followed."""
        at = 0
        while (header := tar[at : at + _BLOCK]) != bytes(_BLOCK):
            try:
                member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
            except tarfile.HeaderError as error:
                raise ValueError("something follows the last kernel" if self._places else str(error)) from error
            at += _BLOCK
            if len(self._places) >= MAX_MEMBERS or not 0 <= member.size <= MAX_BYTES:
                raise ValueError("it is larger than a bundle of kernels can be")
            if _OTHER_FORMAT.match(member.name):
                raise ValueError(f"it is of the format {member.name.partition('/')[0]}, and this kregistry reads v1")
            if member.type != tarfile.REGTYPE or not (member.name == LOCK_NAME or _NAME.fullmatch(member.name)):
                raise ValueError(f"it holds {member.name[:80]!r}, which is not a kernel")
            if member.name in self._places:
                raise ValueError(f"it holds {member.name[:80]!r} twice")
            self._places[member.name] = slice(at, at + member.size)
            at += member.size + -member.size % _BLOCK
            if at > len(tar):
                raise EOFError("it is cut")
        if tar[at:].strip(b"\0"):
            raise ValueError("it is damaged: something follows the last kernel")
        self._places.pop(LOCK_NAME, None)


def signature_of(path: Path) -> Path:
    """The file with the signature of a bundle."""
    return path.with_name(path.name + SIGNATURE_SUFFIX)


def _decompressed(content: bytes) -> bytes:
    """The tar file in a bundle.

    Raises:
        TierError: it is no gzip file, or is damaged, or holds much more than its size says.
    """
    limit = min(MAX_TOTAL, MAX_RATIO * len(content) + _SMALL)
    gzip_file = zlib.decompressobj(wbits=31)
    try:
        tar = gzip_file.decompress(content, limit)
    except zlib.error as error:
        raise TierError(f"it is no bundle, or is damaged: {error}") from error
    if gzip_file.unconsumed_tail:
        raise TierError("it is larger than a bundle of kernels can be")
    if not gzip_file.eof or gzip_file.unused_data:
        raise TierError("it is damaged: it is cut, or something follows it")
    return tar


def _read_both(path: Path) -> tuple[bytes, bytes | None]:
    """A bundle, and its signature if there is one."""
    try:
        content = read_bounded(path, MAX_COMPRESSED)
    except (OSError, ValueError) as error:
        raise TierError(f"it cannot be read: {error}") from error
    try:
        return content, read_bounded(signature_of(path), envelope.MAX_BYTES)
    except FileNotFoundError:
        return content, None
    except (OSError, ValueError) as error:
        raise TierError(f"its signature cannot be read: {error}") from error
