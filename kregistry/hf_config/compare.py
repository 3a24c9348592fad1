"""Compares two manifests, entry by entry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kregistry.manifest.model import Entry

#: (kernel type, label): entries with the same key are compared.
_Key = tuple[str, str]


def compare(before: Iterable[Entry], after: Iterable[Entry]) -> Iterator[str]:
    """One line for each entry that was added (``+``), removed (``-``) or changed (``~``).

    Entries are compared if they have the same kernel type and label. Names of models are ignored, so that two settings
    of one model can be compared.
    """
    old, new = _by_key(before), _by_key(after)
    for key in (*old, *(key for key in new if key not in old)):
        kernel_type, label = key
        name = f"{kernel_type} {label}".rstrip()
        left, right = old.get(key, []), new.get(key, [])
        for entry in left[len(right) :]:
            yield f"- {name}: {entry.shape}, {entry.range}"
        for entry in right[len(left) :]:
            yield f"+ {name}: {entry.shape}, {entry.range}"
        for one, other in zip(left, right):
            if (one.shape, one.range) != (other.shape, other.range):
                changes = [_change(str(one.shape), str(other.shape)), _change(str(one.range), str(other.range))]
                yield f"~ {name}: {', '.join(filter(None, changes))}"


def _change(before: str, after: str) -> str:
    return "" if before == after else f"{before} -> {after}"


def _by_key(entries: Iterable[Entry]) -> dict[_Key, list[Entry]]:
    found: dict[_Key, list[Entry]] = {}
    for entry in entries:
        found.setdefault((entry.kernel_type, entry.label), []).append(entry)
    return found
