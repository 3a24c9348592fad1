"""Rules for random shapes and for manifests. Hypothesis, if installed, makes shapes with a fixed seed and bounds."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import ExitStack
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import NotApplicable, RuleViolation, rule
from kregistry.conformance.rules.buffers import bytes_held
from kregistry.conformance.rules.calls import check_run_time_value, check_shape_of_call
from kregistry.errors import KregistryError, ShapeError
from kregistry.kernel_type import Choice, Dimension, KernelType, Shape, Size
from kregistry.target import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hypothesis.strategies import SearchStrategy

#: Number of random shapes for each target.
_EXAMPLES = 40
#: Seed of the random shapes.
_SEED = 0


@rule("KR130", "any shape that its dimensions allow is consistent", needs=("KR103", "KR107", "KR114", "KR115"))
def random_shapes(subject: KernelTypeUnderTest) -> None:
    for target in subject.targets:
        _try_random_shapes(subject, target)


def _try_random_shapes(subject: KernelTypeUnderTest, target: Target) -> None:
    kernel_type = subject.kernel_type
    largest = subject.at("largest")
    reachable = _reachable(kernel_type, largest)

    def holds(data: Any) -> None:
        values = {each.name: data.draw(_values(each, subject), label=each.name) for each in kernel_type.all_dimensions}
        try:
            shape = kernel_type.resolve(values, target)
        except ShapeError:
            return  # a combination that check() refuses
        m = reachable[data.draw(_index(len(reachable)), label="which m")]
        buffers = kernel_type.allocate_buffers(shape, largest, "meta")
        said, held = kernel_type.memory_requirement(shape, largest), bytes_held(buffers)
        if said != held:
            what = f"memory_requirement(shape, max_m={largest})"
            raise RuleViolation(what, f"{said} bytes", f"the {held} bytes that the buffers hold", location(shape))
        check_run_time_value(kernel_type, buffers, m)
        with ExitStack() as stack:
            try:
                stack.enter_context(subject.applied(shape))
            except ShapeError:
                return  # the installed DeepGEMM does not have a setting of this shape
            check_shape_of_call(kernel_type, buffers, m)

    _for_all(holds)


@rule("KR131", "a manifest can express its shapes, and lists of them fan out", needs=("KR106",))
def manifest_entries(subject: KernelTypeUnderTest) -> None:
    import itertools

    kernel_type = subject.kernel_type
    for target in subject.targets:
        shapes = subject.shapes(target)
        _check_manifest(kernel_type, target, [dict(shape) for shape in shapes], shapes)
        lists = {each.name: _distinct([shape[each.name] for shape in shapes]) for each in kernel_type.all_dimensions}
        try:
            wanted = tuple(
                kernel_type.resolve(dict(zip(lists, values)), target) for values in itertools.product(*lists.values())
            )
        except ShapeError:
            continue  # check() refuses some combination of the examples
        _check_manifest(kernel_type, target, lists, wanted)


def _check_manifest(kernel_type: KernelType, target: Target, written: object, wanted: tuple[Shape, ...]) -> None:
    import yaml

    from kregistry.manifest.document import parse_document
    from kregistry.manifest.reader import read_manifest

    run = kernel_type.run_dimension
    kernel = {"type": kernel_type.name, "shape": written, run.name: {"stop": run.start + run.step}}
    text = yaml.safe_dump({"version": 1, "models": {"model": {"kernels": [kernel]}}}, sort_keys=False)
    try:
        manifest = read_manifest(parse_document(text, "kernels.yaml"), _Only(kernel_type), target)
    except KregistryError as error:
        raise RuleViolation(f"the manifest\n{text}", error.message, "a valid manifest", target.name) from error
    found = tuple(entry.shape for entry in manifest.entries)
    if sorted(map(str, found)) != sorted(map(str, wanted)):
        got, expected = "; ".join(map(str, found)), "; ".join(map(str, wanted))
        raise RuleViolation(f"the manifest\n{text}", f"the shapes {got}", expected, target.name)


class _Only:
    """A registry of one kernel type."""

    def __init__(self, kernel_type: KernelType) -> None:
        self._types = MappingProxyType({kernel_type.name: kernel_type})

    def __getitem__(self, name: str) -> KernelType:
        return self._types[name]

    def names(self) -> tuple[str, ...]:
        return tuple(self._types)

    def run_dimensions(self) -> tuple[str, ...]:
        return tuple(each.run_dimension.name for each in self._types.values())

    def choosing(self, choices: Mapping[str, str]) -> _Only:
        return self


def _distinct(values: list[Any]) -> list[Any]:
    return [value for index, value in enumerate(values) if value not in values[:index]]


def _reachable(kernel_type: KernelType, largest: int) -> range:
    run = kernel_type.run_dimension
    return range(run.start, largest + 1, run.step)


def _values(dimension: Dimension, subject: KernelTypeUnderTest) -> SearchStrategy[Any]:
    """Allowed values of a dimension; numbers are at most four times those of the examples."""
    from hypothesis import strategies

    options: list[SearchStrategy[Any]] = []
    words: list[object] = []
    if isinstance(dimension, Size):
        grain = dimension.multiple_of
        numbers = [shape[dimension.name] for shape in subject.every_shape]
        most = max((4 * value for value in numbers if type(value) is int), default=8 * grain)
        least = -(-dimension.minimum // grain)
        options.append(strategies.integers(least, max(least, most // grain)).map(lambda count: count * grain))
        words += [*dimension.policies, *((None,) if dimension.optional else ())]
    elif isinstance(dimension, Choice):
        words += dimension.choices
    else:
        words += (False, True)
    if words:
        options.append(strategies.sampled_from(words))
    return strategies.one_of(options)


def _index(length: int) -> SearchStrategy[int]:
    from hypothesis import strategies

    return strategies.integers(0, length - 1)


def _for_all(holds: Callable[[Any], None]) -> None:
    if importlib.util.find_spec("hypothesis") is None:
        raise NotApplicable("Hypothesis is not installed")
    from hypothesis import HealthCheck, Phase, given, seed, settings, strategies

    bounded = settings(
        max_examples=_EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        print_blob=False,
    )
    # Not derandomize=True: its seed is a hash of the source text of holds(), so that rewording it changes the shapes.
    bounded(seed(_SEED)(given(strategies.data())(holds)))()
