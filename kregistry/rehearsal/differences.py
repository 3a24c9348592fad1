"""Compares two manifests by kernel type and shape: labels, and the order of entries, do not count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attrs import frozen

from kregistry.kernel_type import KernelType
from kregistry.manifest.model import Entry


@frozen
class Difference:
    """One difference.

    Attributes:
        kind: ``missing`` (only before), ``new`` (only after) or ``range``.
        kernel_type: the kernel type.
        shape: the shape, as text.
        label: the label of the entry.
        before: its ranges before, as text; empty if there was none.
        after: its ranges after.
    """

    kind: str
    kernel_type: str
    shape: str
    label: str
    before: str
    after: str

    def __str__(self) -> str:
        sign = {"missing": "-", "new": "+", "range": "~"}[self.kind]
        ranges = " -> ".join(filter(None, (self.before, self.after)))
        return f"{sign} {self.kernel_type} {self.label}: {self.shape}, {ranges}"


def differences(
    before: Iterable[Entry], after: Iterable[Entry], kernel_types: Callable[[str], KernelType]
) -> Iterator[Difference]:
    """What differs, in the order of ``before``; then what is new. Dimensions that only size buffers do not count."""
    old, new = _by_shape(before, kernel_types), _by_shape(after, kernel_types)
    for key in (*old, *(key for key in new if key not in old)):
        left, right = old.get(key, []), new.get(key, [])
        one, other = _ranges(left), _ranges(right)
        if one != other:
            kind = "range" if left and right else "missing" if left else "new"
            first = (left or right)[0]
            yield Difference(kind, first.kernel_type, str(first.shape), first.label, one, other)


def _by_shape(
    entries: Iterable[Entry], kernel_types: Callable[[str], KernelType]
) -> dict[tuple[str, str], list[Entry]]:
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        sizes = kernel_types(entry.kernel_type).buffer_sizes
        values = {name: value for name, value in entry.shape.items() if name not in sizes}
        found.setdefault((entry.kernel_type, str(sorted(values.items(), key=str))), []).append(entry)
    return found


def _ranges(entries: Iterable[Entry]) -> str:
    return ", ".join(dict.fromkeys(str(entry.range) for entry in sorted(entries, key=lambda each: each.range.start)))
