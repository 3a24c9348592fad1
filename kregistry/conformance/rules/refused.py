"""Rule for what a kernel type refuses: DeepGEMM refuses it too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.conformance.rules.large_values import large_values
from kregistry.conformance.rules.stub import probed_shapes
from kregistry.conformance.variant import sent, without_check, without_refusal
from kregistry.errors import ShapeError
from kregistry.kernel_type import Dimension, Shape, Size
from kregistry.stub.probed import Probed

#: Multiples of the grain of a size that are tried, next to those around the size of the example.
_GRAINS = (3, 7)
#: Factors of the other sizes: what is refused with all of them is refused because of its own number.
_FACTORS = (1, 2, 8)
#: Archs whose kernels read rows without tensor maps: nothing but the GPU refuses rows that are not aligned.
_UNCHECKED = ("sm120",)
#: Large values that are launched in spite of a refusal, at most.
_VALUES = 3


@rule("KR228", "DeepGEMM refuses what the kernel type refuses", needs=("KR203", "KR132"))
def refused(subject: KernelTypeUnderTest) -> None:
    """Launch on the stub GPU what ``check()`` and ``refusal()`` refuse."""
    for shape, _ in probed_shapes(subject):
        _check_values(subject, shape)
        if shape.target.arch in _UNCHECKED:
            continue
        for dimension in subject.kernel_type.dimensions:
            if isinstance(dimension, Size) and type(shape[dimension.name]) is int:
                _check_sizes(subject, shape, dimension)


def _check_values(subject: KernelTypeUnderTest, shape: Shape) -> None:
    kernel_type = subject.kernel_type
    refused = [m for m in sorted(large_values(kernel_type, shape)) if kernel_type.refusal(shape, m)][:_VALUES]
    for m in refused:
        prober = subject.machine.prober(shape.target)
        if _accepted(prober.probe(sent(without_refusal, kernel_type), shape, (m,))):
            wanted = "None: DeepGEMM launches it, and planning leaves its kernels out"
            raise RuleViolation(f"refusal(shape, {m})", repr(kernel_type.refusal(shape, m)), wanted, location(shape, m))


def _check_sizes(subject: KernelTypeUnderTest, shape: Shape, dimension: Size) -> None:
    """Multiples of the grain that ``check()`` refuses, whatever the other sizes are."""
    kernel_type, m = subject.kernel_type, subject.at("tail")
    unchecked = without_check(kernel_type)
    for number in _numbers(shape, dimension):
        if not dimension.accepts(number) or _is_accepted_elsewhere(subject, shape, dimension, number):
            continue
        values = {**shape, dimension.name: number}
        try:
            changed = unchecked.resolve(values, shape.target)
            kernel_type.buffers(changed, m)
        except Exception:  # a number that another limit refuses, or that buffers() cannot make anything of
            continue
        prober = subject.machine.prober(shape.target)
        if _accepted(prober.probe(sent(without_check, kernel_type), changed, (m,))):
            reason = _reason(subject, shape, values)
            wanted = "a shape: DeepGEMM launches it, and users cannot plan it"
            raise RuleViolation(f"check() of {dimension.name}={number}", f"{reason!r}", wanted, location(changed, m))


def _numbers(shape: Shape, dimension: Size) -> tuple[int, ...]:
    grain, number = dimension.multiple_of, shape[dimension.name]
    assert type(number) is int
    near = (number // grain + more for more in (1, 3))
    return tuple(dict.fromkeys(count * grain for count in (*_GRAINS, *near)))


def _is_accepted_elsewhere(subject: KernelTypeUnderTest, shape: Shape, dimension: Dimension, number: int) -> bool:
    """Whether ``check()`` takes the number next to the sizes of the example, or to smaller or larger ones."""
    others = [name for name, value in shape.items() if name != dimension.name and type(value) is int]
    changes: list[dict[str, object]] = [dict.fromkeys(others, 1)]
    for factor in _FACTORS:
        larger: dict[str, object] = {name: factor * cast(int, shape[name]) for name in others}
        changes += [larger, *({name: value} for name, value in larger.items())]
    return any(not _reason(subject, shape, {**shape, **change, dimension.name: number}) for change in changes)


def _reason(subject: KernelTypeUnderTest, shape: Shape, values: Mapping[str, object]) -> str:
    """Why the kernel type refuses values of a shape; empty if it takes them."""
    try:
        subject.kernel_type.resolve(values, shape.target)
    except ShapeError as error:
        return error.message
    return ""


def _accepted(probed: Probed) -> bool:
    """Whether each launch found kernels of DeepGEMM: cuBLASLt refuses nothing on the stub GPU."""
    if probed.error or not probed.values:
        return False
    launches = [launch for value in probed.values for launch in (value.warm_up, value.serving)]
    return all(launch.kernels and not launch.error for launch in launches)
