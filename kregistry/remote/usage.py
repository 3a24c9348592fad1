"""How remotes were used, added up beside the store over all commands and servers of a machine.

STORE/usage/NAME.json    what one process has counted, or many files made one

Each process writes a file of its own, so that no count is lost where several end at once, and none needs a lock.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field

from kregistry.bounded_input import parse_json, read_bounded
from kregistry.remote.counts import add_counts, seconds_count, whole_counts
from kregistry.remote.tier_use import TierUse
from kregistry.store import atomic
from kregistry.store.listing import matching

#: More files than this are made one.
_MOST_FILES = 200
_LARGEST = 1 << 20
#: The counts that are whole numbers.
_WHOLE = ("commands", "found", "missed", "compiled")


@define
class Usage:
    """The sums of some commands.

    Attributes:
        commands: how many there were.
        since: when the first of them ended, in seconds since the epoch.
        found, missed: kernels that the local store had, and that it did not have.
        compiled: kernels that were compiled.
        compile_seconds: of the compilers.
        tiers: how each remote was used, by its URL.
    """

    commands: int = 0
    since: float = 0.0
    found: int = 0
    missed: int = 0
    compiled: int = 0
    compile_seconds: float = 0.0
    tiers: dict[str, TierUse] = field(factory=dict)

    def add(self, other: Usage) -> None:
        """Add the counts of others to these."""
        self.since = min(filter(None, (self.since, other.since)), default=0.0)
        add_counts(self, other, (*_WHOLE, "compile_seconds"))
        for name, use in other.tiers.items():
            self.tiers.setdefault(name, TierUse(name)).add(use)

    def to_json(self) -> dict[str, Any]:
        return {
            **{count: getattr(self, count) for count in _WHOLE},
            "since": round(self.since, 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "remotes": {name: use.to_json() for name, use in sorted(self.tiers.items())},
        }

    @classmethod
    def from_json(cls, content: Any) -> Usage:
        """
        Raises:
            ValueError: it is not what :meth:`to_json` gives.
        """
        try:
            tiers = {str(name): TierUse.from_json(str(name), counts) for name, counts in content["remotes"].items()}
            since = seconds_count(content, "since")
            if since >= 1e11:  # in the year 5138
                raise ValueError("not a count of usage: the time of the first command is not possible")
            seconds = seconds_count(content, "compile_seconds")
            whole: Mapping[str, Any] = whole_counts(content, _WHOLE)
            return cls(**whole, since=since, compile_seconds=seconds, tiers=tiers)
        except (TypeError, KeyError, AttributeError, OverflowError) as error:
            raise ValueError(f"not a count of usage: {error}") from error


def note_usage(
    store: Path, remote: Iterable[TierUse], *, found: int = 0, missed: int = 0, compile_seconds: Iterable[float] = ()
) -> None:
    """Keep what a command has counted. Where the store cannot be written, nothing is kept.

    Args:
        store: directory of the store.
        remote: how each remote was used.
        found, missed: see :class:`Usage`.
        compile_seconds: of each kernel that was compiled.
    """
    used = {each.name: each for each in remote if each.asked}
    seconds = list(compile_seconds)
    if not used and not found and not missed:
        return
    usage = Usage(1, time.time(), found, missed, len(seconds), sum(seconds), used)
    with contextlib.suppress(OSError):
        _write(store, usage)
        if len(list(_directory(store).iterdir())) > _MOST_FILES:
            _make_one(store)


def read_usage(store: Path) -> Usage:
    """The sum of all counts beside a store. A file that is no count is left out."""
    total = Usage()
    with contextlib.suppress(OSError):
        for path in _directory(store).glob("*.json"):
            _add(total, path)
    return total


def forget_usage(store: Path) -> None:
    """Begin to count anew.

    Raises:
        StorageError: the store cannot be written.
    """
    with atomic.storage_errors(store):
        for path in matching(_directory(store), "*.json"):
            path.unlink(missing_ok=True)


def _directory(store: Path) -> Path:
    return store / "usage"


def _add(total: Usage, path: Path) -> None:
    """Add what one file says; nothing if it is no count."""
    with contextlib.suppress(OSError, ValueError):
        total.add(Usage.from_json(parse_json(read_bounded(path, _LARGEST))))


def _write(store: Path, usage: Usage) -> None:
    directory = _directory(store)
    directory.mkdir(parents=True, exist_ok=True)
    content = (json.dumps(usage.to_json()) + "\n").encode()
    atomic.replace_file(directory / f"{atomic.scratch_name('count')}.json", content)


def _make_one(store: Path) -> None:
    """Only one process can rename a file, so each is added to one sum."""
    total = Usage()
    for path in _directory(store).glob("*.json"):
        taken = path.with_name(atomic.scratch_name(".taken"))
        try:
            path.rename(taken)
        except FileNotFoundError:  # another process has it
            continue
        _add(total, taken)
        taken.unlink(missing_ok=True)
    _write(store, total)
