"""A kernel of the store as one piece of bytes, as it travels between stores.

The content: a line that names the format, a line with the length of the record, the record, and the cubin. Nobody who
receives it trusts it: :func:`unpack` accepts it only as the kernel that was asked for.
"""

from __future__ import annotations

from attrs import frozen

from kregistry.store import signed_json
from kregistry.store.store import DamagedEntry, Store, check_content

_FORMAT = b"kregistry kernel 1\n"
#: The largest cubin that is accepted, in bytes. DeepGEMM's are below 1 MiB.
MAX_BYTES = 64 << 20
_MAX_DIGITS = 7


@frozen
class PackedKernel:
    """A kernel that was received, and found to be intact."""

    key: str
    record: bytes
    cubin: bytes


def pack(store: Store, key: str) -> bytes | None:
    """The content of an entry; ``None`` if the store does not have it.

    Raises:
        DamagedEntry: the entry exists but is damaged.
    """
    found = store.content(key)
    return None if found is None else _FORMAT + b"%d\n" % len(found.record) + found.record + found.cubin


def unpack(key: str, content: bytes) -> PackedKernel:
    """Check received content.

    Args:
        key: the kernel that was asked for.
        content: what came.

    Raises:
        DamagedEntry: it is not this kernel, or not intact.
    """
    if not content.startswith(_FORMAT):
        raise DamagedEntry("it is not a kernel of a format that this kregistry reads")
    length, newline, rest = content[len(_FORMAT) :].partition(b"\n")
    if not newline or not length.isdigit() or len(length) > _MAX_DIGITS or int(length) > len(rest):
        raise DamagedEntry("it is cut")
    record, cubin = rest[: int(length)], rest[int(length) :]
    try:
        check_content(key, signed_json.decode(record), cubin)
    except (ValueError, KeyError) as error:
        raise DamagedEntry(f"its record is damaged: {error}") from error
    return PackedKernel(key, record, cubin)


def add(store: Store, kernel: PackedKernel) -> None:
    """Publish a received kernel. If another process was faster, its kernel is kept.

    Raises:
        StorageError: the store cannot be written.
    """
    store.publish(kernel.key, kernel.cubin, kernel.record)
