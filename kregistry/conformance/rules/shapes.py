"""Rules for dimensions and example shapes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.random_shapes import choices_of
from kregistry.conformance.rule import NotApplicable, RuleViolation, rule
from kregistry.errors import KregistryError, ShapeError
from kregistry.kernel_type import Dimension, KernelType, Shape, Size
from kregistry.target import Target

#: From the sizes of an example to those of a model, and beyond.
_FACTORS = (8, 256, 4096)


@rule("KR106", "its example shapes resolve", needs=("KR101", "KR108"))
def examples(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    label = type(kernel_type).__name__
    if not kernel_type.proof.examples:
        wanted = "at least one small shape, e.g. ({'n': 256, 'k': 512},)"
        raise RuleViolation(f"{label}.proof.examples", "none", wanted)
    if not subject.targets:
        raise NotApplicable(f"no arch is claimed for DeepGEMM {subject.machine.deep_gemm_version}")
    for target in subject.targets:
        if not subject.shapes(target):
            refusals = "; ".join(_refusals(subject, target.name))
            raise RuleViolation(
                f"{label}.proof.examples on {target.name}", f"each is refused: {refusals}", "one that resolves"
            )
        _check_defaults(subject, target)
    for shape in subject.every_shape:
        again = kernel_type.resolve(dict(shape), shape.target)
        if again != shape or hash(again) != hash(shape):
            raise RuleViolation("resolve(dict(shape))", again, f"the same shape: {shape}", location(shape))
        if pickle.loads(pickle.dumps(shape)) != shape:
            raise RuleViolation("a shape after pickling", "another shape", "an equal one", location(shape))


def _check_defaults(subject: KernelTypeUnderTest, target: Target) -> None:
    """Some example is a shape with every dimension left out that has a default; a setting may have to be said."""
    kernel_type = subject.kernel_type
    kept = {each.name for each in kernel_type.dimensions if each.required}
    kept |= {each.name for each in kernel_type.settings}
    refusals: dict[str, None] = {}
    for example in kernel_type.proof.examples:
        try:
            kernel_type.resolve({name: value for name, value in example.items() if name in kept}, target)
        except ShapeError as error:
            refusals[error.message] = None
        else:
            return
    what = f"the defaults of {type(kernel_type).__name__}.dimensions on {target.name}"
    wanted = "defaults that work there: a manifest leaves them out; a default may be a function of the target"
    raise RuleViolation(what, f"each example is refused: {'; '.join(refusals)}", wanted)


def _refusals(subject: KernelTypeUnderTest, name: str) -> Iterator[str]:
    for target in subject.targets:
        for example in subject.kernel_type.proof.examples if target.name == name else ():
            try:
                subject.kernel_type.resolve(example, target)
            except ShapeError as error:
                yield error.message


@rule("KR107", "wrong dimensions are refused, by name", needs=("KR106",))
def refusals(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    for shape in subject.every_shape:
        good = dict(shape)
        _refused(subject, {**good, "no_such_dimension": 1}, "no_such_dimension", shape)
        for dimension in kernel_type.all_dimensions:
            if dimension.required:
                without = {name: value for name, value in good.items() if name != dimension.name}
                _refused(subject, without, dimension.name, shape)
            for value in _wrong_values(dimension):
                _refused(subject, {**good, dimension.name: value}, dimension.name, shape)
        for varied in _variants(kernel_type, shape):
            _check_fault(kernel_type, shape, varied)


def _variants(kernel_type: KernelType, shape: Shape) -> Iterator[Mapping[str, object]]:
    """Each size small and large, all of them large, and each choice: what ``check()`` is asked about later."""
    sizes = {each.name: each for each in kernel_type.dimensions if isinstance(each, Size)}
    numbers: dict[str, int] = {name: value for name in sizes if type(value := shape[name]) is int}
    for name, number in numbers.items():
        grain, least = sizes[name].multiple_of, sizes[name].minimum
        for other in (-(-least // grain) * grain, 7 * grain, *(factor * number for factor in _FACTORS)):
            yield {name: other}
    yield from ({name: factor * number for name, number in numbers.items()} for factor in _FACTORS)
    yield from ({each.name: choice} for each in kernel_type.dimensions for choice in choices_of(each))


def _check_fault(kernel_type: KernelType, shape: Shape, varied: Mapping[str, object]) -> None:
    try:
        kernel_type.resolve({**shape, **varied}, shape.target)
    except ShapeError as error:
        cause = error.__cause__
        if cause is not None and not isinstance(cause, KregistryError):
            named = ", ".join(f"{name}={value}" for name, value in varied.items())
            got = f"{type(cause).__name__}: {' '.join(str(cause).split())[:200]}"
            wanted = "a ShapeError: users are told that any other error is a fault of the plugin"
            raise RuleViolation(f"check() with {named}", got, wanted, location(shape)) from error


def _wrong_values(dimension: Dimension) -> Iterator[object]:
    yield "no such word"
    yield 1.5
    if isinstance(dimension, Size):
        yield dimension.minimum - 1
        if dimension.multiple_of > 1:
            yield dimension.multiple_of * (dimension.minimum + 1) + 1
    if not dimension.accepts(None):
        yield None


def _refused(subject: KernelTypeUnderTest, values: Mapping[str, object], name: str, shape: Shape) -> None:
    what = f"resolve({values})"
    wanted = f"a ShapeError about {name!r}"
    try:
        found = subject.kernel_type.resolve(values, shape.target)
    except ShapeError as error:
        if (error.kernel_type, error.dimension) != (subject.kernel_type.name, name) or not error.text.strip():
            raise RuleViolation(what, f"a ShapeError about {error.dimension!r}: {error.text}", wanted) from None
        return
    except Exception as error:
        raise RuleViolation(what, f"{type(error).__name__}: {error}", wanted) from None
    raise RuleViolation(what, f"the shape {found}", wanted)
