"""Shapes, ranges and entries in few words."""

from __future__ import annotations

from kregistry.kernel_type import KernelType
from kregistry.manifest import Entry, Range
from kregistry.target import TARGETS


def entry_of(
    kernel_type: KernelType, stop: int = 8, *, start: int = 1, step: int = 1, target: str = "h100", **values: object
) -> Entry:
    """An entry of a model called ``model``."""
    shape = kernel_type.resolve(values, TARGETS[target])
    return Entry("model", "", shape, Range(kernel_type.run_dimension.name, start, stop, step))
