"""Lock files: a plan as JSON that can be checked in, and what has changed since."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kregistry.errors import DriftError, InputError, StorageError
from kregistry.kernel_type.words import show_shape
from kregistry.plan.plan import Plan

LOCK_VERSION = 1
_KEYS = ("target", "versions", "kernels", "entries")


def write_lock(plan: Plan, path: Path) -> None:
    """Write a plan as a lock file.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        path.write_text(json.dumps(plan.to_json(), indent=1) + "\n")
    except OSError as error:
        raise StorageError.from_oserror(error, path) from error


def read_lock(path: Path) -> Mapping[str, Any]:
    """The content of a lock file.

    Raises:
        StorageError: it cannot be read.
        InputError: it is not a lock file of this format.
    """
    try:
        lock = json.loads(path.read_text())
    except OSError as error:
        raise StorageError.from_oserror(error, path) from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}", "kregistry plan -o FILE writes a lock file") from error
    if not isinstance(lock, dict) or lock.get("lock_version") != LOCK_VERSION or any(key not in lock for key in _KEYS):
        raise _not_a_lock(path)
    return lock


def check_lock(plan: Plan, path: Path) -> None:
    """
    Raises:
        DriftError: the plan differs from the lock file; its details are the differences.
        StorageError, InputError: the file cannot be read.
    """
    lock = read_lock(path)
    try:
        differences = tuple(differ(lock, plan.to_json()))
    except (KeyError, TypeError, AttributeError) as error:
        raise _not_a_lock(path) from error
    if differences:
        raise DriftError(
            f"{path}: {len(differences)} differences (- in the file, + planned now)",
            differences,
            f"kregistry plan -o {path} accepts them",
        )


def differ(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """The differences between two plans, a line each."""
    for section in ("target", "versions"):
        for key in {**old[section], **new[section]}:
            before, after = old[section].get(key), new[section].get(key)
            if before != after:
                yield f"{section}.{key}: - {before} + {after}"
    for kernel in old["kernels"]:
        if kernel not in new["kernels"]:
            yield f"kernel - {kernel}"
    for kernel in new["kernels"]:
        if kernel not in old["kernels"]:
            yield f"kernel + {kernel}"
    before_entries = _by_identity(old["entries"])
    after_entries = _by_identity(new["entries"])
    for identity in before_entries:
        if identity not in after_entries:
            yield f"entry - {identity}"
    for identity, after in after_entries.items():
        before = before_entries.get(identity)
        if before is None:
            yield f"entry + {identity}"
        else:
            yield from _differ_entry(identity, before, after)


def _not_a_lock(path: Path) -> InputError:
    return InputError(f"{path}: not a lock file of version {LOCK_VERSION}", "kregistry plan -o FILE writes a lock file")


def _by_identity(entries: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Entries by their words; a manifest may say the same twice, with two ranges: the later ones are numbered."""
    found: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        identity = _identity(entry)
        number = 1 + sum(other.partition(" #")[0] == identity for other in found)
        found[identity if number == 1 else f"{identity} #{number}"] = entry
    return found


def _identity(entry: Mapping[str, Any]) -> str:
    shape = show_shape(entry["shape"])
    return f"{entry['model']}: {entry['type']} {shape} ({entry['label']})"


def _differ_entry(identity: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in ("range", "error", "refusals"):
        if before.get(key) != after.get(key):
            yield f"{identity}: {key}: - {before.get(key)} + {after.get(key)}"
    for old_segment, new_segment in zip(before["segments"], after["segments"]):
        if old_segment != new_segment:
            name = after["range"]["name"]
            yield (
                f"{identity}: first changed segment: - {name} {_segment(old_segment)} + {name} {_segment(new_segment)}"
            )
            return
    if len(before["segments"]) != len(after["segments"]):
        yield f"{identity}: number of segments: - {len(before['segments'])} + {len(after['segments'])}"


def _segment(segment: Mapping[str, Any]) -> str:
    return f"{segment['start']}..{segment['stop']} {' '.join(segment['kernels'])}"
