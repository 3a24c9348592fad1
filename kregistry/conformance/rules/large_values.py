"""Rule for large run-time values, on the meta device: no memory, and milliseconds a shape."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from kregistry.conformance.cases import start_of
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import FULL, NotProved, RuleViolation, rule
from kregistry.conformance.rules.buffers import bytes_held, declaration_fault_of
from kregistry.conformance.rules.calls import (
    check_run_time_value,
    check_shape_of_call,
    policy_steps,
    recorder_of,
    tensors_of,
)
from kregistry.kernel_type import Buffers, KernelType, Shape

#: Past a tile, two usual limits of a step, one past the 16 bits of a short, and a long prefill. In an order in which
#: what was remembered from an earlier value is found.
VALUES = (65537, 257, 131072, 4096, 16384)
#: Past all values that any rule has asked for.
_NEVER_ASKED_FOR = 262_147
#: Policies are looked at up to here.
_MOST_OF_A_POLICY = 4_500


def large_values(kernel_type: KernelType, shape: Shape) -> tuple[int, ...]:
    """The values that a range of the kernel type can reach, at or after each of :data:`VALUES`."""
    start, step, most = start_of(kernel_type), kernel_type.run_dimension.step, kernel_type.largest_m(shape)
    values = tuple(start + -(-max(value - start, 0) // step) * step for value in VALUES)
    return tuple(value for value in values if most is None or value <= most)


@rule(
    "KR132",
    "it is right at large run-time values",
    needs=("KR103", "KR113", "KR114", "KR115"),
)
def large(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    for shape in subject.every_shape:
        with subject.applied(shape):
            sizes = {m: _size_at(kernel_type, shape, m) for m in (*_small(subject), *large_values(kernel_type, shape))}
        _check_growth(kernel_type, shape, sizes, subject)
        _check_smaller(subject, shape)
        _check_history(subject, shape)
    refusals = list(_refusals(subject))
    if refusals:
        raise NotProved(f"refusal() refuses large values: {refusals[0]}")


def _check_smaller(subject: KernelTypeUnderTest, shape: Shape) -> None:
    """Buffers for a large value hold every smaller one, also where a policy makes it larger in another way."""
    kernel_type = subject.kernel_type
    values = sorted({*(subject.at(case) for case in FULL), *large_values(kernel_type, shape)})
    pairs = [(max_m, m) for max_m in values[-2:] for m in values if m < max_m]
    # Where a policy changes, buffers need not grow with the value.
    each_value = range(start_of(kernel_type), _MOST_OF_A_POLICY, kernel_type.run_dimension.step)
    pairs += [(after, before) for before, after in policy_steps(kernel_type, shape, each_value)]
    with subject.applied(shape):
        for max_m, m in pairs:
            try:
                buffers = kernel_type.allocate_buffers(shape, max_m, "meta")
                check_run_time_value(kernel_type, buffers, m)
                for method in ("outputs", "results", "writable"):
                    getattr(kernel_type, method)(buffers, m)
            except (RuntimeError, IndexError) as error:
                got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                what = f"arguments(buffers for {max_m}, m={m}), or its outputs"
                raise RuleViolation(what, got, "a launch in the same buffers", location(shape, m)) from error


def _check_history(subject: KernelTypeUnderTest, shape: Shape) -> None:
    """A value that was never asked for changes nothing of what is declared for a smaller one."""
    kernel_type, m = subject.kernel_type, subject.at("largest")
    start, step, most = start_of(kernel_type), kernel_type.run_dimension.step, kernel_type.largest_m(shape)
    larger = start + _NEVER_ASKED_FOR // step * step
    before = _declared(kernel_type, shape, m)
    _declared(kernel_type, shape, larger if most is None else min(larger, most))
    for name, after in _declared(kernel_type, shape, m).items():
        if after != before[name]:
            what = f"{name} at max_m={m}, after the same for {larger}"
            raise RuleViolation(what, after, f"{before[name]}, as before: all servers plan alike", location(shape, m))


def _declared(kernel_type: KernelType, shape: Shape, m: int) -> dict[str, object]:
    return {
        **{f"the buffer {name!r}": spec for name, spec in kernel_type.buffers(shape, m).items()},
        "memory_requirement": kernel_type.memory_requirement(shape, m),
        "workspace_requirement": kernel_type.workspace_requirement(shape, m),
        "largest_m": kernel_type.largest_m(shape),
        "refusal": kernel_type.refusal(shape, m),
    }


def _small(subject: KernelTypeUnderTest) -> tuple[int, ...]:
    return subject.at("block"), subject.at("largest")


def _size_at(kernel_type: KernelType, shape: Shape, m: int) -> dict[str, int]:
    """Check everything at ``m``, and return how large buffers, arguments and outputs are."""
    where = location(shape, m)
    for name, spec in kernel_type.buffers(shape, m).items():
        fault = declaration_fault_of(spec)
        if fault:
            raise RuleViolation(f"buffers(shape, max_m={m})[{name!r}]", fault[0], fault[1], where)
    buffers = kernel_type.allocate_buffers(shape, m, "meta")
    said, held = kernel_type.memory_requirement(shape, m), bytes_held(buffers)
    if said != held:
        what = f"memory_requirement(shape, max_m={m})"
        raise RuleViolation(what, f"{said} bytes", f"the {held} bytes that the buffers hold", where)
    workspace = kernel_type.workspace_requirement(shape, m)
    if type(workspace) is not int or workspace < 0:
        raise RuleViolation(f"workspace_requirement(shape, max_m={m})", repr(workspace), "an integer >= 0", where)
    for dimension in kernel_type.dimensions:
        number = shape.at(dimension, m) if dimension.policies else 1
        if number is not None and (type(number) is not int or number < 1):
            raise RuleViolation(f"the policy of {dimension.name}", repr(number), "an integer >= 1", where)
    check_run_time_value(kernel_type, buffers, m)
    check_shape_of_call(kernel_type, buffers, m)
    _check_homes(kernel_type, buffers, m, where)
    recorder, calls = recorder_of(kernel_type)
    recorder.execute(buffers, m)
    if len(calls) != 1:
        raise RuleViolation(f"execute(buffers, m={m})", f"{len(calls)} calls of function()", "one", where)
    for method in ("outputs", "results", "writable"):
        getattr(kernel_type, method)(buffers, m)
    given = {f"the argument {i}": each.numel() for i, each in enumerate(tensors_of(kernel_type.arguments(buffers, m)))}
    written = {f"the output {name!r}": each.numel() for name, each in kernel_type.outputs(buffers, m).items()}
    stored = {f"the buffer {name!r}": each.numel() for name, each in buffers.tensors.items()}
    return {**stored, **given, **written}


def _check_homes(kernel_type: KernelType, buffers: Buffers, m: int, where: str) -> None:
    """The arguments lie in these buffers, and not in those of an earlier call."""
    homes = {tensor.untyped_storage()._cdata for tensor in buffers.tensors.values()}
    if not {each.untyped_storage()._cdata for each in tensors_of(kernel_type.arguments(buffers, m))} <= homes:
        got = "a tensor that lies in other buffers than those given"
        raise RuleViolation(f"arguments(buffers, m={m})", got, "views of these buffers", where)


def _check_growth(
    kernel_type: KernelType, shape: Shape, sizes: dict[int, dict[str, int]], subject: KernelTypeUnderTest
) -> None:
    """What grows from one small value to the next grows to large ones too."""
    block, largest = _small(subject)
    if block == largest:
        return
    for name, before in sizes[block].items():
        if before >= sizes[largest].get(name, 0):
            continue
        for m, n in itertools.pairwise((largest, *sorted(set(large_values(kernel_type, shape)) - {largest}))):
            if m < n and sizes[n].get(name, 0) <= sizes[m].get(name, 0):
                got = f"{sizes[n].get(name, 0)} elements at {n}, as many as at {m} or fewer"
                wanted = f"more: it has {before} at {block} and {sizes[largest][name]} at {largest}"
                raise RuleViolation(f"{name} of a launch", got, wanted, location(shape, n))


def _refusals(subject: KernelTypeUnderTest) -> Iterator[str]:
    for shape in subject.every_shape:
        for m in large_values(subject.kernel_type, shape):
            reason = subject.kernel_type.refusal(shape, m)
            if reason:
                yield f"{reason} ({location(shape, m)})"
