"""Rule for calls whose result is empty because of another size than the run-time value: no keys, no columns."""

from __future__ import annotations

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import FULL, RuleViolation, rule
from kregistry.conformance.rules.stub import explained, probed_shapes
from kregistry.conformance.variant import sent, with_minimum_zero
from kregistry.errors import ShapeError
from kregistry.kernel_type import Shape, Size

#: How DeepGEMM refuses a size: its caller sees why.
_ASSERTION = "Assertion error"


@rule("KR230", "a call with an empty result raises nothing", needs=("KR204", "KR206"))
def empty_columns(subject: KernelTypeUnderTest) -> None:
    """Zero for each size that differs from call to call, and that the result has."""
    kernel_type = subject.kernel_type
    for shape, _ in probed_shapes(subject):
        for dimension in kernel_type.dimensions:
            number = shape[dimension.name]
            if dimension.affects_kernel or not isinstance(dimension, Size) or type(number) is not int:
                continue
            if _is_of_the_result(subject, shape, dimension, number):
                _check(subject, shape, dimension)


def _check(subject: KernelTypeUnderTest, shape: Shape, dimension: Size) -> None:
    kernel_type, m = subject.kernel_type, subject.at("tail")
    try:
        empty = with_minimum_zero(kernel_type, dimension.name).resolve({**shape, dimension.name: 0}, shape.target)
    except ShapeError:
        return
    sending = sent(with_minimum_zero, kernel_type, dimension.name)
    probed = subject.machine.prober(shape.target).probe(sending, empty, (m,))
    launches = [launch for value in probed.values for launch in (value.warm_up, value.serving)]
    error = probed.error or next((launch.error for launch in launches if launch.error), "")
    if error and _ASSERTION not in error:
        wanted = "no error: read_m() may be 0 for such a call, and empty_result() its result"
        raise RuleViolation(f"a call with {dimension.name}=0", explained(error), wanted, location(shape, m))


def _is_of_the_result(subject: KernelTypeUnderTest, shape: Shape, dimension: Size, number: int) -> bool:
    """Whether what a launch writes or returns has another size if the dimension has."""
    kernel_type, m = subject.kernel_type, subject.at("tail")
    try:
        larger = kernel_type.resolve({**shape, dimension.name: 4 * number}, shape.target)
    except ShapeError:
        return False
    sizes = [
        {name: tensor.shape for name, tensor in kernel_type.outputs(subject.meta_buffers(each, m), m).items()}
        for each in (shape, larger)
    ]
    if sizes[0] != sizes[1]:
        return True
    forms = [
        [value.warm_up.result for value in subject.probed(each, values).values if value.m == m]
        for each, values in ((shape, None), (larger, tuple(subject.at(case) for case in FULL)))
    ]
    return forms[0] != forms[1]
