"""Numbers that a policy of a kernel type gives at every run-time value become the name of that policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import evolve

from kregistry.kernel_type import Dimension, KernelType
from kregistry.rehearsal.findings import RehearsedCall
from kregistry.target import Target


def with_policies(
    calls: Iterable[RehearsedCall], kernel_types: Callable[[str], KernelType], target: Target
) -> Iterable[RehearsedCall]:
    """The calls, in their order. A number that does not change with m, or that no policy gives, stays.

    Args:
        calls: what was seen.
        kernel_types: gives the kernel type of a name.
        target: the GPU, which policies ask for its SMs.
    """
    found = list(calls)
    for name in dict.fromkeys(call.kernel_type for call in found):
        for dimension in kernel_types(name).all_dimensions:
            if dimension.policies:
                found = _replaced(found, kernel_types(name), dimension, target)
    return found


def _replaced(
    calls: list[RehearsedCall], kernel_type: KernelType, dimension: Dimension, target: Target
) -> list[RehearsedCall]:
    groups: dict[object, list[RehearsedCall]] = {}
    for call in calls:
        if call.kernel_type == kernel_type.name and isinstance(call.shape.get(dimension.name), int):
            groups.setdefault(_rest(call, dimension), []).append(call)
    policies = {key: _policy(group, kernel_type, dimension, target) for key, group in groups.items()}

    def replaced(call: RehearsedCall) -> RehearsedCall:
        policy = policies.get(_rest(call, dimension)) if call.kernel_type == kernel_type.name else None
        return evolve(call, shape={**call.shape, dimension.name: policy}) if policy else call

    return [replaced(call) for call in calls]


def _rest(call: RehearsedCall, dimension: Dimension) -> object:
    return tuple(item for item in call.shape.items() if item[0] != dimension.name)


def _policy(calls: list[RehearsedCall], kernel_type: KernelType, dimension: Dimension, target: Target) -> str | None:
    """The policy that gives the number of every call; ``None`` if all have one number, or there is none."""
    if len({call.shape[dimension.name] for call in calls}) == 1:
        return None
    for policy in dimension.policies:
        shape = kernel_type.resolve({**calls[0].shape, dimension.name: policy}, target)
        if all(shape.at(dimension, call.m) == call.shape[dimension.name] for call in calls):
            return policy
    return None
