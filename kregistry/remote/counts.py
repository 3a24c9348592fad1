"""Counts that are added up over commands and kept as JSON: whole numbers and seconds, none below zero."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def add_counts(total: object, other: object, names: Iterable[str]) -> None:
    """Add these attributes of another object to those of the first."""
    for name in names:
        setattr(total, name, getattr(total, name) + getattr(other, name))


def whole_counts(content: Any, names: Iterable[str], default: int | None = None) -> dict[str, int]:
    """The whole numbers of a mapping that was read.

    Args:
        content: the mapping.
        names: its keys.
        default: of a key that is missing; ``None``: all must be there.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, OverflowError: one is missing, is no number, or is below 0.
    """
    found = {name: int(content[name] if default is None else content.get(name, default)) for name in names}
    for count in found.values():
        _check(count)
    return found


def seconds_count(content: Any, name: str) -> float:
    """The same for one duration, in seconds."""
    seconds = float(content[name])
    _check(seconds)
    return seconds


def _check(count: float) -> None:
    if not count >= 0:  # also a float that is no number
        raise ValueError("not a count of usage: a number is not possible")
