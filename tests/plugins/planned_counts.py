"""Kernel counts of the catalogue's typical shapes, found by planning on the installed stack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kregistry import KernelType, Registry, ShapeError, get_target, make_plan
from kregistry.manifest import Entry, Manifest, Range
from kregistry.plan import PlannedEntry
from kregistry.target import Target
from tests.plugins.catalogue_cases import CASES, Case

#: One of each arch.
TARGETS = ("h100", "b200", "rtx-pro-6000")
#: How many kernels; or why there are none.
Count = int | str


def name_of(case: Case) -> str:
    """Kernel type, shape and range in words: the same on every stack."""
    kernel_type, shape, (start, stop, _) = case[:3]
    words = " ".join(f"{key}={str(value).lower()}" for key, value in shape.items())
    return " ".join(filter(None, (kernel_type, words, f"{start}..{stop}")))


def planned_counts(registry: Registry, target: str, stub_directory: Path | None = None) -> Mapping[str, Count]:
    """For each case, kernels of all kinds on a target, or the reason why DeepGEMM or the kernel type refuses."""
    found: dict[str, Count] = {}
    entries: dict[str, Entry] = {}
    for case in CASES:
        try:
            entries[name_of(case)] = _entry(registry[case[0]], case, get_target(target))
        except ShapeError as error:
            found[name_of(case)] = error.message
    manifest = Manifest("catalogue", get_target(target), ("catalogue",), tuple(entries.values()), {})
    plan = make_plan(manifest, registry, stub_directory=stub_directory)
    found.update({name: _count(planned) for name, planned in zip(entries, plan.entries)})
    return {name_of(case): found[name_of(case)] for case in CASES}


def _entry(kernel_type: KernelType, case: Case, target: Target) -> Entry:
    start, stop, step = case[2]
    if target.arch == "sm120":
        step = kernel_type.run_dimension.step  # kernels change at any value there (measured), elsewhere at 16 i + 1
    shape = kernel_type.resolve(case[1], target)
    return Entry("catalogue", "", shape, Range(kernel_type.run_dimension.name, start, stop, step))


def _count(planned: PlannedEntry) -> Count:
    if planned.ok:
        return len(planned.kernels())
    return planned.error or planned.refusals[0].reason
