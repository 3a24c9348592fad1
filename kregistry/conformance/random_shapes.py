"""Random shapes within the declared dimensions, from a fixed seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest
from kregistry.errors import ShapeError
from kregistry.kernel_type import Choice, Dimension, Flag, Shape, Size, Value
from kregistry.target import Target

_SEED = 1
#: Random shapes for each target, and run-time values of each.
RANDOM_SHAPES, RANDOM_VALUES = 2, 2
#: How often a new shape is drawn before giving up: check() may refuse many combinations.
_TRIES = 60


def random_shapes(subject: KernelTypeUnderTest, target: Target, count: int) -> Iterator[Shape]:
    """Up to ``count`` shapes that are no examples. Sizes are odd multiples of their grain, up to those of the examples.

    Half of the dimensions keep the value of an example, so that ``check()`` accepts most of them.
    """
    kernel_type, generator = subject.kernel_type, random.Random(_SEED)
    examples = subject.shapes(target)
    found: list[Shape] = list(examples)
    for _ in range(_TRIES if examples else 0):
        values = dict(generator.choice(examples))
        for dimension in kernel_type.dimensions:
            if generator.random() < 0.5:
                values[dimension.name] = _value(dimension, examples, generator)
        try:
            shape = kernel_type.resolve(values, target)
        except ShapeError:
            continue
        if shape not in found and kernel_type.collective(shape) is None:
            found.append(shape)
            yield shape
        if len(found) == len(examples) + count:
            return


def other_shapes(subject: KernelTypeUnderTest, target: Target) -> Iterator[Shape]:
    """Shapes that are no examples, whose results are compared too."""
    yield from random_shapes(subject, target, RANDOM_SHAPES)
    yield from untried_choices(subject, target)
    if subject.device == "cpu":  # a GPU would need a compiler for each
        yield from _odd_sizes(subject, target)


def _odd_sizes(subject: KernelTypeUnderTest, target: Target) -> Iterator[Shape]:
    """For each size, the first example in which :meth:`check` accepts another one: odd, seven, or the least."""
    examples = subject.shapes(target)
    for dimension in subject.kernel_type.dimensions:
        if not isinstance(dimension, Size):
            continue
        numbers = [shape[dimension.name] for shape in examples]
        largest = max((number for number in numbers if type(number) is int), default=dimension.minimum)
        least = max(-(-dimension.minimum // dimension.multiple_of), 1)
        for grains in dict.fromkeys(((largest // dimension.multiple_of + 1) | 1, 7, least)):
            shape = next(_with(subject, examples, target, dimension, grains * dimension.multiple_of), None)
            if shape is not None and shape not in examples:
                yield shape


def untried_choices(subject: KernelTypeUnderTest, target: Target) -> Iterator[Shape]:
    """For each word, flag and policy that no example has, the first example that :meth:`check` accepts with it."""
    examples = subject.shapes(target)
    for dimension in subject.kernel_type.dimensions:
        tried = {example[dimension.name] for example in examples}
        for choice in choices_of(dimension):
            shape = next(_with(subject, examples, target, dimension, choice), None) if choice not in tried else None
            if shape is not None:
                yield shape


def _with(
    subject: KernelTypeUnderTest, examples: tuple[Shape, ...], target: Target, dimension: Dimension, choice: Value
) -> Iterator[Shape]:
    for example in examples:
        try:
            shape = subject.kernel_type.resolve({**example, dimension.name: choice}, target)
        except ShapeError:
            continue
        if subject.kernel_type.collective(shape) is None:
            yield shape


def choices_of(dimension: Dimension) -> tuple[Value, ...]:
    """Every word, flag or policy of a dimension; nothing of a plain number."""
    if isinstance(dimension, Choice):
        return dimension.choices
    return (False, True) if isinstance(dimension, Flag) else tuple(dimension.policies)


def random_values(subject: KernelTypeUnderTest, count: int) -> tuple[int, ...]:
    """Run-time values between the first and the largest case, and none of the cases."""
    generator, run = random.Random(_SEED), subject.kernel_type.run_dimension
    cases = {subject.at(case) for case in ("one", "tail", "block", "largest")}
    others = [m for m in range(subject.at("one"), subject.at("largest") + 1, run.step) if m not in cases]
    return tuple(generator.sample(others, min(count, len(others)))) or tuple(sorted(cases))[:count]


def _value(dimension: Dimension, examples: tuple[Shape, ...], generator: random.Random) -> Value:
    if not isinstance(dimension, Size):
        return generator.choice(dimension.choices if isinstance(dimension, Choice) else (False, True))
    numbers = [shape[dimension.name] for shape in examples]
    if dimension.policies and generator.random() < 0.3:
        return generator.choice(tuple(dimension.policies))
    grain = dimension.multiple_of
    least = -(-dimension.minimum // grain)
    most = max((number // grain for number in numbers if type(number) is int), default=2 * least + 5)
    count = generator.randint(least, max(least, most))
    return min(count | 1, max(most, least)) * grain
