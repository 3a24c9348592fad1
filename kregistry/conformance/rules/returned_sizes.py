"""Rule for sizes and strides of what a launch returns: on the stub GPU they are real, though the numbers are not."""

from __future__ import annotations

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON, OTHER_POISON
from kregistry.conformance.rule import NotApplicable, RuleViolation, rule
from kregistry.conformance.rules.references import same_bits
from kregistry.conformance.rules.stub import probed_shapes
from kregistry.conformance.trial import filled_buffers
from kregistry.kernel_type import Shape
from kregistry.stub.probed import ProbedValue
from kregistry.stub.returned_form import zeros_of


@rule("KR231", "what a launch returns is read by its sizes and strides", needs=("KR121", "KR201"))
def returned_sizes(subject: KernelTypeUnderTest) -> None:
    next(probed_shapes(subject))
    if not subject.returns_results:
        raise NotApplicable("its launches return no results")
    values = {subject.at("one"), subject.at("tail")}
    for shape, probed in probed_shapes(subject):
        for value in probed.values:
            if value.m in values:
                _check(subject, shape, value)


def _check(subject: KernelTypeUnderTest, shape: Shape, value: ProbedValue) -> None:
    kernel_type, m, form = subject.kernel_type, value.m, value.warm_up.result
    try:
        given = [zeros_of(form, between=pattern) for pattern in (OTHER_POISON, NAN_POISON)]
    except ValueError:  # an object of another type
        return
    buffers = filled_buffers(kernel_type, shape, m, subject.padded_rows(m), 0, NAN_POISON, "cpu").buffers
    wanted = {name: tuple(each.shape) for name, each in kernel_type.reference(buffers, m).items()}
    what, where = f"returned(value, buffers, {m}), where a launch returns {form},", location(shape, m)
    try:
        results, others = (kernel_type.returned(each, buffers, m) for each in given)
    except Exception as error:
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise RuleViolation(what, got, "results, also of a value that is all zeros", where) from error
    for name, each in results.items():
        if tuple(each.shape) != wanted.get(name):
            got = f"{name!r} with the sizes {tuple(each.shape)}"
            raise RuleViolation(what, got, f"{wanted.get(name, 'no such result')}, as reference() has it", where)
        if not same_bits(each, others[name]):
            got = f"{name!r} with what lies between the rows of that tensor"
            raise RuleViolation(what, got, "its elements only: go by its strides", where)
