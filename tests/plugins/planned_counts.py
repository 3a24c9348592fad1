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
    manifest, found = catalogue_manifest(registry, target)
    plan = make_plan(manifest, registry, stub_directory=stub_directory)
    found.update({planned.entry.label: _count(planned) for planned in plan.entries})
    return {name_of(case): found[name_of(case)] for case in CASES}


def catalogue_manifest(registry: Registry, target: str) -> tuple[Manifest, dict[str, Count]]:
    """The cases that kernel types accept, labelled by :func:`name_of`; and why they refuse the others."""
    refused: dict[str, Count] = {}
    entries: list[Entry] = []
    for case in CASES:
        try:
            entries.append(_entry(registry[case[0]], case, get_target(target)))
        except ShapeError as error:
            refused[name_of(case)] = error.message
    return Manifest("catalogue", get_target(target), ("catalogue",), tuple(entries), {}), refused


def _entry(kernel_type: KernelType, case: Case, target: Target) -> Entry:
    start, stop, step = case[2]
    if target.arch == "sm120":
        step = kernel_type.run_dimension.step  # kernels change at any value there (measured), elsewhere at 16 i + 1
    shape = kernel_type.resolve(case[1], target)
    return Entry("catalogue", name_of(case), shape, Range(kernel_type.run_dimension.name, start, stop, step))


def _count(planned: PlannedEntry) -> Count:
    if planned.ok:
        return len(planned.kernels())
    return planned.error or planned.refusals[0].reason
