"""Recording: every (kernel type, shape, run-time value) that was called, and the manifest that covers it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import frozen

from kregistry.kernel_type import Dimension, KernelType, Shape, Value
from kregistry.target import TARGETS, Target

#: A kernel type's name and the dimensions of one call site.
Key = tuple[str, tuple[tuple[str, Value], ...]]


@frozen
class Recorded:
    """One call site: what was called, and with which run-time values."""

    kernel_type: str
    shape: Mapping[str, Value]
    values: frozenset[int]


class Recording:
    """What was called. Safe from several threads.

    Args:
        on_new: called for each (key, run-time value) that is met for the first time.
    """

    def __init__(self, on_new: Callable[[Key, int], None] = lambda key, m: None) -> None:
        self._on_new = on_new
        self._values: dict[Key, set[int]] = {}
        self._lock = threading.Lock()

    def add(self, kernel_type: str, shape: Mapping[str, Value], m: int) -> None:
        """Take note of one call."""
        key = (kernel_type, tuple(shape.items()))
        values = self._values.get(key)
        if values is not None and m in values:
            return
        with self._lock:
            values = self._values.setdefault(key, set())
            if m not in values:
                values.add(m)
                self._on_new(key, m)

    def calls(self) -> tuple[Recorded, ...]:
        """Everything so far, sorted."""
        with self._lock:
            items = [Recorded(name, dict(shape), frozenset(values)) for (name, shape), values in self._values.items()]
        return tuple(sorted(items, key=lambda each: (each.kernel_type, [str(v) for v in each.shape.values()])))

    def manifest(
        self, kernel_types: Callable[[str], KernelType], target: Target, model: str = "recorded"
    ) -> dict[str, Any]:
        """The content of a ``kernels.yaml`` that covers every call, gaps between its run-time values included."""
        kernels = [
            {"type": kernel_type.name, "shape": _words(shape), kernel_type.run_dimension.name: _range(values, step)}
            for kernel_type, shape, values in _merged(self.calls(), kernel_types, target)
            for step in (kernel_type.run_dimension.step,)
        ]
        known = target.name in TARGETS
        return {"version": 1, "target": target.name if known else "detect", "models": {model: {"kernels": kernels}}}


def _merged(
    calls: tuple[Recorded, ...], kernel_types: Callable[[str], KernelType], target: Target
) -> Iterator[tuple[KernelType, Mapping[str, Value], frozenset[int]]]:
    """Call sites that differ only in a number that one of the kernel type's rules gives at every m become one."""
    rest = _largest(calls, kernel_types)
    while rest:
        first = rest.pop(0)
        kernel_type = kernel_types(first.kernel_type)
        shape, values = dict(first.shape), first.values
        for dimension in kernel_type.all_dimensions:
            family = [first, *(each for each in rest if _differs_only_in(dimension.name, first, each))]
            rule = _rule(kernel_type, dimension, family, target) if len(family) > 1 else None
            if rule is not None:
                rest = [each for each in rest if each not in family]
                shape[dimension.name] = rule
                values = frozenset().union(*(each.values for each in family))
                break
        yield kernel_type, shape, values


def _largest(calls: tuple[Recorded, ...], kernel_types: Callable[[str], KernelType]) -> list[Recorded]:
    """Call sites that differ only in dimensions that size buffers become one, with the largest of each."""
    found: dict[object, Recorded] = {}
    for call in calls:
        sizes = kernel_types(call.kernel_type).buffer_sizes & call.shape.keys()
        key = (call.kernel_type, tuple(item for item in call.shape.items() if item[0] not in sizes))
        known = found.get(key, call)
        largest = {name: max(call.shape[name], known.shape[name]) for name in sizes}  # type: ignore[type-var]
        found[key] = Recorded(call.kernel_type, {**call.shape, **largest}, call.values | known.values)
    return list(found.values())


def _differs_only_in(name: str, one: Recorded, other: Recorded) -> bool:
    if one.kernel_type != other.kernel_type or one.shape.keys() != other.shape.keys():
        return False
    return [key for key in one.shape if one.shape[key] != other.shape[key]] == [name]


def _rule(kernel_type: KernelType, dimension: Dimension, family: list[Recorded], target: Target) -> str | None:
    for rule in dimension.policies:
        shape: Shape = kernel_type.resolve({**family[0].shape, dimension.name: rule}, target)
        if all(shape.at(dimension, m) == each.shape[dimension.name] for each in family for m in each.values):
            return rule
    return None


def _words(shape: Mapping[str, Value]) -> dict[str, Value]:
    return {name: "none" if value is None else value for name, value in shape.items()}


def _range(values: frozenset[int], step: int) -> dict[str, int]:
    """From the smallest to the largest value, in the kernel type's steps where every value is a multiple of them."""
    aligned = step > 1 and all(value % step == 0 for value in values)
    span = {"start": min(values), "stop": max(values)}
    return {**span, "step": step} if aligned else {**span, "step": 1} if step > 1 else span
