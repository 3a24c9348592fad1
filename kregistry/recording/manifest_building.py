"""From recorded calls to a manifest that covers them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kregistry.kernel_type import Dimension, KernelType, Shape, Value
from kregistry.kernel_type.display import manifest_value
from kregistry.recording.recorded_call import Recorded
from kregistry.target import TARGETS, Target

#: Gives the kernel type of a name.
KernelTypes = Callable[[str], KernelType]


def build_manifest(calls: Iterable[Recorded], kernel_types: KernelTypes, target: Target, model: str) -> dict[str, Any]:
    """The content of a ``kernels.yaml`` that covers every call, gaps between its run-time values included."""
    kernels = [
        {
            "type": kernel_type.name,
            "shape": {name: manifest_value(value) for name, value in shape.items()},
            kernel_type.run_dimension.name: _range(values, step),
        }
        for kernel_type, shape, values in _merged(calls, kernel_types, target)
        for step in (kernel_type.run_dimension.step,)
    ]
    known = target.name in TARGETS
    return {"version": 1, "target": target.name if known else "detect", "models": {model: {"kernels": kernels}}}


def _merged(
    calls: Iterable[Recorded], kernel_types: KernelTypes, target: Target
) -> Iterator[tuple[KernelType, Mapping[str, Value], frozenset[int]]]:
    """Merge call sites that differ only in a number that a policy of the kernel type gives at every m."""
    rest = _largest(calls, kernel_types)
    while rest:
        first = rest.pop(0)
        kernel_type = kernel_types(first.kernel_type)
        shape, values = dict(first.shape), first.values
        for dimension in kernel_type.all_dimensions:
            alike = [first, *(each for each in rest if _differs_only_in(dimension.name, first, each))]
            policy = _common_policy(kernel_type, dimension, alike, target) if len(alike) > 1 else None
            if policy is not None:
                rest = [each for each in rest if each not in alike]
                shape[dimension.name] = policy
                values = frozenset().union(*(each.values for each in alike))
                break
        yield kernel_type, shape, values


def _largest(calls: Iterable[Recorded], kernel_types: KernelTypes) -> list[Recorded]:
    """Merge call sites that differ only in dimensions that size buffers; the largest value of each is kept."""
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


def _common_policy(kernel_type: KernelType, dimension: Dimension, calls: list[Recorded], target: Target) -> str | None:
    """The policy that gives the recorded number of every call; ``None`` if there is none."""
    for policy in dimension.policies:
        shape: Shape = kernel_type.resolve({**calls[0].shape, dimension.name: policy}, target)
        if all(shape.at(dimension, m) == each.shape[dimension.name] for each in calls for m in each.values):
            return policy
    return None


def _range(values: frozenset[int], step: int) -> dict[str, int]:
    """From the smallest to the largest value, in the steps of the kernel type if every value is a multiple of them."""
    aligned = step > 1 and all(value % step == 0 for value in values)
    span = {"start": min(values), "stop": max(values)}
    return {**span, "step": step} if aligned else {**span, "step": 1} if step > 1 else span
