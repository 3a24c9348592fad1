"""The format of a store's entries, and the entries of an older one.

STORE/format    the number of the format; kregistry 0.1.0, the first format, wrote no such file

Records of the first format do not name their key and carry no digest, so that a changed record, or the folder of
another kernel, is not found. They are removed when a build opens the store, and their kernels are compiled again.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from kregistry.bounded_input import read_bounded
from kregistry.errors import StorageError
from kregistry.store import atomic, signed_json
from kregistry.store.listing import matching

FORMAT = 2
_FILE = "format"
#: Directories of records, and what their paths look like below the store; nothing else is touched.
_RECORDS = {
    "kernels": re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}/kernel\.json"),
    "broken": re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}\.json"),
    "front_ends": re.compile(r"[0-9a-f]+\.json"),
    "plans": re.compile(r"[0-9a-f]{32}\.json"),
}


def is_outdated(store: Path) -> bool:
    """Whether an older kregistry has filled a store, and no build has replaced its entries since."""
    return _format_of(store) < FORMAT and next(_outdated(store), None) is not None


def renew(store: Path) -> int:
    """Remove every entry of an older format. Safe for concurrent processes.

    Returns:
        the number of kernels that were removed.

    Raises:
        StorageError: the store cannot be written, or a newer kregistry has filled it.
    """
    found = _format_of(store)
    if found > FORMAT:
        text = f"a store of format {found}; this kregistry reads format {FORMAT}"
        raise StorageError(str(store), text, "name another directory with --store, or update kregistry")
    if found == FORMAT:
        return 0
    kernels = 0
    with atomic.storage_errors(store):
        for path in list(_outdated(store)):
            entry = path.parent if path.name == "kernel.json" else path
            grave = store / "tmp" / atomic.scratch_name("outdated")
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                entry.rename(grave)
                if _is_outdated(grave / path.name if entry is not path else grave):
                    kernels += entry is not path
                elif entry is not path:  # another process has made it anew since
                    atomic.publish_directory(grave, entry)
                else:
                    grave.replace(entry)
            atomic.remove(grave)
        atomic.replace_file(store / _FILE, f"{FORMAT}\n".encode())
    return kernels


def _format_of(store: Path) -> int:
    """The format that the store names; 1 if it names none that can be read."""
    try:
        return int(read_bounded(store / _FILE, 100))
    except (OSError, ValueError):
        return 1


def _outdated(store: Path) -> Iterator[Path]:
    """The records without a digest."""
    for name, pattern in _RECORDS.items():
        for path in matching(store / name, "**/*.json"):
            if not pattern.fullmatch(path.relative_to(store / name).as_posix()):
                continue
            if _is_outdated(path):
                yield path


def _is_outdated(record: Path) -> bool:
    """Whether a record is one without a digest."""
    try:
        signed_json.decode(read_bounded(record))
    except signed_json.NotSigned:
        return True
    except (OSError, ValueError):  # damaged, which is found where it is used
        return False
    return False
