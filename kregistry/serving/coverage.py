"""Which calls are covered: those of manifest entries whose kernels a warm-up has made ready."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kregistry.events import BrokenKernel, BrokenRange
from kregistry.kernel_type import KernelType, Value
from kregistry.manifest import Entry, Manifest


class Coverage:
    """Entries by kernel type. Sealed calls do not consult it."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[Entry, ...]] = {}
        self._broken: tuple[BrokenRange, ...] = ()

    def add(self, manifest: Manifest, broken: Iterable[BrokenKernel] = ()) -> None:
        """Mark a manifest's entries as covered, except values whose kernel does not compile.

        A thread that reads meanwhile sees an entry or does not see it, never a part of it.
        """
        self._broken = tuple(dict.fromkeys((*self._broken, *(each for kernel in broken for each in kernel.ranges))))
        for entry in manifest.entries:
            known = self._entries.get(entry.kernel_type, ())
            if entry not in known:
                self._entries[entry.kernel_type] = (*known, entry)

    def covers(self, kernel_type: KernelType, shape: Mapping[str, Value], m: int) -> bool:
        """Whether an entry covers a call with these dimensions at run-time value ``m``.

        A value between two steps of an entry's range is covered too: DeepGEMM chooses the same kernel for it.
        """
        return any(
            entry.range.start <= m <= entry.range.stop and fits(kernel_type, entry, shape, m)
            for entry in self._entries.get(kernel_type.name, ())
        ) and not self.crashes(kernel_type, shape, m)

    def crashes(self, kernel_type: KernelType, shape: Mapping[str, Value], m: int) -> bool:
        """Whether a call at run-time value ``m`` is known to need a kernel that does not compile."""
        return any(
            each.entry.kernel_type == kernel_type.name
            and each.start <= m <= each.stop
            and fits(kernel_type, each.entry, shape, m)
            for each in self._broken
        )


def fits(kernel_type: KernelType, entry: Entry, shape: Mapping[str, Value], m: int) -> bool:
    """A dimension that the call does not show, or that only affects buffer sizes, counts as covered; a setting, or a
    dimension that is hidden at its default, then has that default. A rule stands for its number at ``m``."""
    shown = {**kernel_type.hidden_defaults(entry.shape.target), **shape}
    for dimension in kernel_type.all_dimensions:
        if dimension.name not in shown or not dimension.affects_kernel:
            continue
        covered = entry.shape[dimension.name]
        if isinstance(covered, str) and covered in dimension.policies:
            covered = entry.shape.at(dimension, m)
        if covered != shown[dimension.name]:
            return False
    return True
