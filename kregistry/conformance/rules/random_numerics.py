"""Rules for numerics at random shapes and run-time values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kregistry.conformance.cases import sweep_of
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON, OTHER_POISON, poisoned_buffers
from kregistry.conformance.random_shapes import RANDOM_SHAPES, RANDOM_VALUES, other_shapes, random_shapes, random_values
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.conformance.rules.numerics import compare_results, device_shapes
from kregistry.conformance.trial import filled_buffers, reference_of, refill, results_of, synchronize
from kregistry.deep_gemm.settings import applied
from kregistry.errors import ShapeError
from kregistry.kernel_type import Shape, Size

#: Factor of a size; the most bytes of the buffers then; and the steps that they hold beside those of the launch.
_FACTOR, _MOST_BYTES, _MORE = 8, 4 << 20, 31


@rule("KR133", "inputs and reference are right at random shapes and values", needs=("KR123",))
def random_references(subject: KernelTypeUnderTest) -> None:
    for target in subject.targets:
        for shape in random_shapes(subject, target, RANDOM_SHAPES):
            for m in random_values(subject, 1):
                _check_reference(subject, shape, m, subject.padded_rows(m))
    m, run = subject.at("one"), subject.kernel_type.run_dimension
    for shape in _larger_shapes(subject, m + _MORE * run.step):
        _check_reference(subject, shape, m, m + _MORE * run.step)


def _larger_shapes(subject: KernelTypeUnderTest, rows: int) -> Iterator[Shape]:
    """The smallest example with each size in turn larger: what has one column in all examples then has several."""
    kernel_type = subject.kernel_type
    for target in subject.targets:
        shapes = subject.shapes(target)
        if not shapes:
            continue
        smallest = min(shapes, key=lambda shape: kernel_type.memory_requirement(shape, rows))
        for dimension in kernel_type.dimensions:
            number: Any = smallest[dimension.name]
            if not isinstance(dimension, Size) or type(number) is not int:
                continue
            try:
                larger = kernel_type.resolve({**smallest, dimension.name: _FACTOR * number}, target)
            except ShapeError:
                continue
            if kernel_type.memory_requirement(larger, rows) < _MOST_BYTES and kernel_type.collective(larger) is None:
                yield larger


def _check_reference(subject: KernelTypeUnderTest, shape: Shape, m: int, rows: int) -> None:
    kernel_type, where = subject.kernel_type, location(shape, m)
    first = filled_buffers(kernel_type, shape, m, rows, 0, NAN_POISON, "cpu").buffers
    second = filled_buffers(kernel_type, shape, m, rows, 0, OTHER_POISON, "cpu").buffers
    again = kernel_type.reference(second, m)
    results = kernel_type.results(first, m)
    for name, wanted in kernel_type.reference(first, m).items():
        what = f"reference(buffers for {rows}, m={m})[{name!r}]"
        if name in results and results[name].shape != wanted.shape:
            raise RuleViolation(what, tuple(wanted.shape), f"the {tuple(results[name].shape)} of results()", where)
        if not wanted.nan_to_num().equal(again[name].nan_to_num()):
            got = "results that depend on what the buffers held before"
            raise RuleViolation(what, got, "the same results twice: fill() writes all that it reads", where)
        if not bool(wanted.isfinite().all()):
            raise RuleViolation(what, "NaN or infinity", "finite values", where)


@rule(
    "KR312",
    "results agree at every value, and at other shapes",
    needs=("KR133", "KR310"),
    on_device=True,
)
def everywhere(subject: KernelTypeUnderTest) -> None:
    """Every value of one example, in the same buffers; then random shapes, and choices that no example has."""
    shapes = device_shapes(subject)
    smallest = min(shapes, key=lambda shape: subject.kernel_type.memory_requirement(shape, subject.at("largest")))
    _compare(subject, smallest, tuple(m for m in sweep_of(subject.kernel_type) if m))
    for shape in _others(subject):
        _compare(subject, shape, random_values(subject, RANDOM_VALUES))


def _others(subject: KernelTypeUnderTest) -> Iterator[Shape]:
    for shape in other_shapes(subject, subject.machine.gpu if subject.device == "cuda" else subject.targets[0]):
        try:
            with applied(subject.kernel_type, shape):
                yield shape
        except ShapeError:
            continue  # the installed DeepGEMM does not have a setting of this shape


def _compare(subject: KernelTypeUnderTest, shape: Shape, values: tuple[int, ...]) -> None:
    kernel_type = subject.kernel_type
    poisoned = poisoned_buffers(kernel_type, shape, subject.padded_rows(max(values)), NAN_POISON, subject.device)
    limit = kernel_type.proof.tolerance
    for m in values:
        refill(kernel_type, poisoned, m, m, subject.device)
        wanted = reference_of(kernel_type, poisoned.buffers, m)
        with applied(kernel_type, shape):
            value = kernel_type.execute(poisoned.buffers, m)
        synchronize(subject.device)
        compare_results(results_of(kernel_type, poisoned.buffers, m, value), wanted, limit, location(shape, m))
