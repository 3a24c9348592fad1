"""Rule for numerics at sizes far beyond the examples: one long step, and each dimension large by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kregistry.conformance.comparison import difference
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.large_launch import fits, smallest_of, value_to_launch
from kregistry.conformance.poison import NAN_POISON, poisoned_buffers
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.conformance.rules.numerics import compare_results, device_shapes
from kregistry.conformance.trial import reference_of, refill, results_of, synchronize
from kregistry.deep_gemm.settings import applied
from kregistry.errors import ShapeError
from kregistry.kernel_type import KernelType, Shape, Size

#: Sizes of a dimension, the first that fits.
_SIZES = (65_539, 4_099, 1_031, 259)
#: How many times the difference of the smallest shape that of a large one may be, unless it is below the other number.
_MOST_GROWTH, _EXACT = 10.0, 1e-5


@rule("KR316", "results agree at large sizes", needs=("KR312", "KR315"), on_device=True)
def large(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    smallest = smallest_of(kernel_type, device_shapes(subject), subject.at("tail"))
    _check_largest(subject, smallest)
    value = value_to_launch(kernel_type, smallest, subject.device)
    if value is not None:
        _compare(subject, smallest, value)
    m = subject.at("tail")
    if subject.device == "cpu":
        before = _compare(subject, smallest, m)
        for shape in _large_shapes(kernel_type, smallest, m):
            _check_growth(before, _compare(subject, shape, m), smallest, location(shape, m))


def _check_growth(before: Mapping[str, float], after: Mapping[str, float], smallest: Shape, where: str) -> None:
    """A sum of more terms is about as exact: one that is rounded on its way loses more with each."""
    for name, found in after.items():
        most = max(_EXACT, _MOST_GROWTH * before[name])
        if found > most:
            what, got = f"the result {name!r}", f"a difference of {found:.3g} from the reference"
            wanted = f"at most {most:.3g}: it is {before[name]:.3g} for {smallest}, and sums are not rounded on the way"
            raise RuleViolation(what, got, wanted, where)


def _check_largest(subject: KernelTypeUnderTest, shape: Shape) -> None:
    """On a CPU, what :meth:`KernelType.largest_m` says must be so; KR223 asks DeepGEMM."""
    kernel_type, most = subject.kernel_type, subject.kernel_type.largest_m(shape)
    if most is None or subject.device != "cpu":
        return
    beyond = most + kernel_type.run_dimension.step
    try:
        poisoned = poisoned_buffers(kernel_type, shape, subject.padded_rows(beyond), NAN_POISON, subject.device)
        refill(kernel_type, poisoned, beyond, 72, subject.device)
        with applied(kernel_type, shape):
            kernel_type.execute(poisoned.buffers, beyond)
    except Exception:  # any: the function refuses the value, as is claimed, or there are no such inputs
        return
    raise RuleViolation("largest_m(shape)", most, f"a larger one: the function takes {beyond}", location(shape, beyond))


def _large_shapes(kernel_type: KernelType, shape: Shape, m: int) -> Iterator[Shape]:
    """The shape with one dimension large, for each dimension that takes such a number."""
    for dimension in kernel_type.dimensions:
        if not isinstance(dimension, Size) or type(shape[dimension.name]) is not int or dimension.policies:
            continue
        for size in _SIZES:
            grains = -(-size // dimension.multiple_of)
            values = {**shape, dimension.name: (grains | 1) * dimension.multiple_of}
            try:
                large = kernel_type.resolve(values, shape.target)
            except ShapeError:
                continue
            if kernel_type.collective(large) is None and fits(kernel_type, large, m):
                yield large
                break


def _compare(subject: KernelTypeUnderTest, shape: Shape, m: int) -> dict[str, float]:
    """Compare one launch with the reference; returns the difference of each result."""
    kernel_type = subject.kernel_type
    poisoned = poisoned_buffers(kernel_type, shape, subject.padded_rows(m), NAN_POISON, subject.device)
    refill(kernel_type, poisoned, m, 71, subject.device)
    wanted = reference_of(kernel_type, poisoned.buffers, m)
    with applied(kernel_type, shape):
        value = kernel_type.execute(poisoned.buffers, m)
    synchronize(subject.device)
    results = results_of(kernel_type, poisoned.buffers, m, value)
    compare_results(results, wanted, kernel_type.proof.tolerance, location(shape, m))
    return {name: difference(results[name], each) for name, each in wanted.items()}
