"""Removes kernels that nobody has used for long, or that are more than there should be.

A server that runs is not affected: it loads from DeepGEMM's JIT cache, whose files are links of their own. A build that
runs compiles again what disappears under it, and what is younger than an hour never disappears.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from attrs import field, frozen

from kregistry.store import atomic
from kregistry.store.listing import matching
from kregistry.store.store import CUBIN, RECORD, Store

#: Whatever is younger than this may be what a build is about to use, in seconds.
YOUNG_SECONDS = 3600.0
#: Directories of files that go by their age alone: plans, logs of builds, and kernels that do not compile.
_BY_AGE = ("plans/*.json", "builds/*.json", "broken/*/*.json", "front_ends/*.json")


@frozen
class Rules:
    """What is removed.

    Attributes:
        older_than: whatever was not used for this long, in seconds; ``None``: age does not matter.
        max_bytes: the least recently used kernels, until the others have no more bytes than this; ``None``: no limit.
        chosen: kernels that are removed, by their keys.
        keep: kernels that stay in any case, by their keys.
    """

    older_than: float | None = None
    max_bytes: int | None = None
    chosen: Collection[str] = ()
    keep: Collection[str] = ()


@frozen
class Removal:
    """One kernel that is removed.

    Attributes:
        key: of the kernel.
        nbytes: of its cubin.
        used: when it was last used, in seconds since 1970.
        reason: ``age``, ``size`` or ``chosen``.
    """

    key: str
    nbytes: int
    used: float
    reason: str


@frozen
class Collected:
    """What was removed, or would be.

    Attributes:
        removed: the kernels.
        files: number of other files.
        kernels, nbytes: what is left.
        kept: kernels that a rule would have removed, and that stay because they are named.
    """

    removed: tuple[Removal, ...]
    files: int
    kernels: int
    nbytes: int
    kept: int

    @property
    def removed_bytes(self) -> int:
        return sum(each.nbytes for each in self.removed)

    def to_json(self) -> dict[str, Any]:
        shown = [{"key": each.key, "bytes": each.nbytes, "reason": each.reason} for each in self.removed]
        return {
            "removed": shown,
            "removed_bytes": self.removed_bytes,
            "removed_files": self.files,
            "kept": self.kept,
            "kernels": self.kernels,
            "bytes": self.nbytes,
        }


@frozen
class _Entry:
    key: str
    nbytes: int
    used: float = field(eq=False)


def collect(store: Store, rules: Rules, *, dry_run: bool = False, now: float | None = None) -> Collected:
    """Remove what the rules name. Safe while builds and servers use the store.

    Args:
        store: the store.
        rules: what is removed.
        dry_run: remove nothing, only report.
        now: seconds since 1970; default: the clock.

    Raises:
        StorageError: the store cannot be written.
    """
    now = time.time() if now is None else now
    entries = sorted(_entries(store), key=lambda each: (each.used, each.key))
    reasons = _reasons(entries, rules, now)
    kept = sum(key in rules.keep for key in reasons)
    removed = tuple(
        Removal(each.key, each.nbytes, each.used, reasons[each.key])
        for each in entries
        if each.key in reasons and each.key not in rules.keep
    )
    gone = {each.key for each in removed}
    files = list(_old_files(store, now - max(rules.older_than, YOUNG_SECONDS))) if rules.older_than is not None else []
    if not dry_run:
        with atomic.storage_errors(store.directory):
            (store.directory / "tmp").mkdir(exist_ok=True)
            for each in removed:
                store.discard(each.key)
            for path in files:
                atomic.remove(path)
    left = [each for each in entries if each.key not in gone]
    return Collected(removed, len(files), len(left), sum(each.nbytes for each in left), kept)


def _entries(store: Store) -> Iterator[_Entry]:
    for cubin in matching(store.directory / "kernels", f"*/*/{CUBIN}"):
        with contextlib.suppress(OSError):
            yield _Entry(cubin.parent.name, cubin.lstat().st_size, cubin.with_name(RECORD).lstat().st_mtime)


def _reasons(entries: list[_Entry], rules: Rules, now: float) -> dict[str, str]:
    """Key -> reason to remove it. The least recently used entry is the first."""
    old = [each for each in entries if now - each.used > YOUNG_SECONDS]
    reasons = {each.key: "chosen" for each in old if each.key in rules.chosen}
    if rules.older_than is not None:
        limit = now - max(rules.older_than, YOUNG_SECONDS)
        reasons = {**{each.key: "age" for each in old if each.used < limit}, **reasons}
    if rules.max_bytes is not None:
        total = sum(each.nbytes for each in entries if each.key not in reasons or each.key in rules.keep)
        for each in old:
            if total > rules.max_bytes and each.key not in reasons and each.key not in rules.keep:
                reasons[each.key] = "size"
                total -= each.nbytes
    return reasons


def _old_files(store: Store, before: float) -> Iterator[Path]:
    for pattern in _BY_AGE:
        for path in matching(store.directory, pattern):
            with contextlib.suppress(OSError):
                if path.lstat().st_mtime < before:
                    yield path
