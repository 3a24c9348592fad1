"""Rule for numerics at sizes far beyond the examples: one long step, and each dimension large by itself."""

from __future__ import annotations

from collections.abc import Iterator

from kregistry.conformance.cases import start_of
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON, poisoned_buffers
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.conformance.rules.numerics import compare_results, device_shapes
from kregistry.conformance.trial import refill, results_of, synchronize
from kregistry.deep_gemm.settings import applied
from kregistry.errors import ShapeError
from kregistry.kernel_type import KernelType, Shape, Size

#: Run-time values, the first that fits: past the numbers of 16 bits, past those of 15 bits, and smaller ones.
_VALUES = (65_540, 32_780, 4_100, 1_030)
#: Sizes of a dimension, the first that fits.
_SIZES = (4_099, 1_031, 259)
#: On a GPU, no more than KR223 has tried on the stub GPU. A size of a dimension would compile a kernel each: not there.
_MOST_ON_A_GPU = 16_384
#: Bytes of the buffers that are tried.
_MOST_BYTES = 32 << 20


@rule("KR316", "results agree at large sizes", needs=("KR312", "KR315"), on_device=True)
def large(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    m = subject.at("tail")
    smallest = min(device_shapes(subject), key=lambda shape: kernel_type.memory_requirement(shape, m))
    _check_largest(subject, smallest)
    value = _largest_value(subject, smallest)
    if value is not None:
        _compare(subject, smallest, value)
    for shape in _large_shapes(kernel_type, smallest, m) if subject.device == "cpu" else ():
        _compare(subject, shape, m)


def _check_largest(subject: KernelTypeUnderTest, shape: Shape) -> None:
    """On a CPU, what :meth:`KernelType.largest_m` says must be so; KR223 asks DeepGEMM."""
    kernel_type, most = subject.kernel_type, subject.kernel_type.largest_m(shape)
    if most is None or subject.device != "cpu":
        return
    beyond = most + kernel_type.run_dimension.step
    poisoned = poisoned_buffers(kernel_type, shape, subject.padded_rows(beyond), NAN_POISON, subject.device)
    refill(kernel_type, poisoned, beyond, 72, subject.device)
    try:
        with applied(kernel_type, shape):
            kernel_type.execute(poisoned.buffers, beyond)
    except Exception:  # any: the function refuses the value, as is claimed
        return
    raise RuleViolation("largest_m(shape)", most, f"a larger one: the function takes {beyond}", location(shape, beyond))


def _largest_value(subject: KernelTypeUnderTest, shape: Shape) -> int | None:
    """The largest run-time value to launch, within what the kernel type itself says."""
    kernel_type = subject.kernel_type
    start, step = start_of(kernel_type), kernel_type.run_dimension.step
    on_device = _MOST_ON_A_GPU if subject.device == "cuda" else None
    limits = (kernel_type.largest_m(shape), kernel_type.proof.stop or None, on_device)
    for wanted in _VALUES:
        value = start + (wanted - start) // step * step
        allowed = value > start and all(limit is None or value <= limit for limit in limits)
        if allowed and kernel_type.refusal(shape, value) is None and _fits(kernel_type, shape, value):
            return value
    return None


def _fits(kernel_type: KernelType, shape: Shape, m: int) -> bool:
    return kernel_type.memory_requirement(shape, m) <= _MOST_BYTES


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
            if kernel_type.collective(large) is None and _fits(kernel_type, large, m):
                yield large
                break


def _compare(subject: KernelTypeUnderTest, shape: Shape, m: int) -> None:
    kernel_type = subject.kernel_type
    poisoned = poisoned_buffers(kernel_type, shape, subject.padded_rows(m), NAN_POISON, subject.device)
    refill(kernel_type, poisoned, m, 71, subject.device)
    wanted = {name: each.clone() for name, each in kernel_type.reference(poisoned.buffers, m).items()}
    with applied(kernel_type, shape):
        value = kernel_type.execute(poisoned.buffers, m)
    synchronize(subject.device)
    results = results_of(kernel_type, poisoned.buffers, m, value)
    compare_results(results, wanted, kernel_type.proof.tolerance, location(shape, m))
