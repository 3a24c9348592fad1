"""Rule for launches on inputs that fill() does not draw: large, small, negative, and rows of zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON, Poisoned, elements, poisoned_buffers
from kregistry.conformance.random_shapes import untried_choices
from kregistry.conformance.rule import NotProved, RuleViolation, rule
from kregistry.conformance.rules.filling import INDEX_TYPES
from kregistry.conformance.rules.numerics import compare_results, device_shapes
from kregistry.conformance.trial import filled_buffers, reference_of, refill, results_of, synchronize
from kregistry.deep_gemm.settings import applied
from kregistry.kernel_type import BufferSpec, Shape

if TYPE_CHECKING:
    import torch

#: Floats that can be multiplied by any power of two that :attr:`Proof.input_exponent` allows.
_WIDE = ("bfloat16", "float32")
#: Rows past those of a launch: more than a tile, to which buffers may be rounded up.
_MORE_ROWS = 256


@rule("KR311", "results agree for unusual inputs", needs=("KR135", "KR301", "KR305"), on_device=True)
def unusual(subject: KernelTypeUnderTest) -> None:
    """One change of one input at a time, in buffers that are filled anew for each."""
    kernel_type, m = subject.kernel_type, subject.at("tail")
    same: set[str] = set()
    for shape in _shapes(subject):
        rows = subject.padded_rows(m)
        poisoned = poisoned_buffers(kernel_type, shape, rows, NAN_POISON, subject.device)
        for name, spec in kernel_type.buffers(shape, rows).items():
            if spec.role == "output" or not _is_float(spec):
                continue
            same |= {name} if spec.dtype in _WIDE and not kernel_type.proof.input_exponent else set()
            refill(kernel_type, poisoned, m, 61, subject.device)
            changes = [*_changes(poisoned.buffers.tensors[name], spec, kernel_type.proof.input_exponent)]
            if subject.device == "cpu":  # a kernel of DeepGEMM that packs scale factors may trap on zeros
                changes += _zeros(poisoned.buffers.tensors[name])
            for words, change in changes:
                refill(kernel_type, poisoned, m, 61, subject.device)
                change()
                _compare(subject, shape, poisoned, m, f" of a launch with {name!r} {words}")
        if subject.device == "cpu":  # a GPU that reads past a buffer is lost to the process
            _check_integers(subject, shape, m)
    if same:
        raise NotProved(f"input_exponent = 0: {', '.join(sorted(same))} are only launched with the numbers of fill()")


def _shapes(subject: KernelTypeUnderTest) -> Iterator[Shape]:
    """The examples; on a CPU also choices that no example has: near zero, a wrong one may differ most."""
    yield from device_shapes(subject)
    if subject.device == "cpu":
        yield from untried_choices(subject, subject.targets[0])


def _check_integers(subject: KernelTypeUnderTest, shape: Shape, m: int) -> None:
    """Zeros, and the reverse order, in one buffer of integers at a time, where the reference takes them."""
    kernel_type, rows = subject.kernel_type, max(m, subject.kernel_type.run_dimension.start)
    poisoned = poisoned_buffers(kernel_type, shape, rows, NAN_POISON, subject.device)
    for name, spec in kernel_type.buffers(shape, rows).items():
        if spec.role == "output" or spec.dtype not in INDEX_TYPES or not spec.affects_results:
            continue
        tensor = poisoned.buffers.tensors[name]
        for words, change in (("of zeros", tensor.zero_), ("in reverse order", lambda: tensor.copy_(tensor.flip(0)))):  # noqa: B023
            refill(kernel_type, poisoned, m, 62, subject.device)
            change()
            try:
                kernel_type.reference(poisoned.buffers, m)
            except (RuntimeError, IndexError, ValueError):
                continue  # nobody gives such integers
            _compare(subject, shape, poisoned, m, f" of a launch with {name!r} {words}")
            if words == "of zeros":
                _check_written(subject, shape, m, name)


def _check_written(subject: KernelTypeUnderTest, shape: Shape, m: int, name: str) -> None:
    """With counts and indices of zero, nothing is written past ``m`` in buffers for more than ``m``."""
    kernel_type = subject.kernel_type
    poisoned = filled_buffers(
        kernel_type, shape, m, subject.padded_rows(m) + _MORE_ROWS, 62, NAN_POISON, subject.device
    )
    poisoned.buffers.tensors[name].zero_()
    before = poisoned.snapshot()
    with applied(kernel_type, shape):
        kernel_type.execute(poisoned.buffers, m)
    synchronize(subject.device)
    after = poisoned.snapshot()
    for output, inside in elements(kernel_type, poisoned, lambda buffers: kernel_type.writable(buffers, m)).items():
        spoiled = int(((before[output] != after[output]) & ~inside).sum())
        if spoiled:
            what, got = f"a launch with {name!r} of zeros", f"writes {spoiled} elements of {output!r} past m"
            raise RuleViolation(what, got, "writes to writable(buffers, m) only", location(shape, m))


def _is_float(spec: BufferSpec) -> bool:
    return "float" in spec.dtype


def _changes(tensor: torch.Tensor, spec: BufferSpec, exponent: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Changes of a tensor, each with its name. Elements that were not filled are NaN, and stay so.

    Numbers of one byte are neither multiplied, since they saturate, nor are factors that are always positive negated.
    """
    if spec.dtype in _WIDE and exponent:
        yield f"multiplied by 2^{exponent}", lambda: _multiply(tensor, 2.0**exponent)
        yield f"multiplied by 2^-{exponent}", lambda: _multiply(tensor, 2.0**-exponent)
    if spec.dtype != "float32" or bool((tensor < 0).any()):
        yield "negated", lambda: tensor.copy_(-tensor.float())
    if tensor.dim() > 1:
        first = tensor[(0,) * (tensor.dim() - 1)]
        yield "whose first row is zeros", lambda: first.zero_()


def _zeros(tensor: torch.Tensor) -> Iterator[tuple[str, Callable[[], object]]]:
    """Numbers that a launch may take for those of padding."""
    yield "of zeros", lambda: tensor.zero_()
    yield "whose every second number is zero", lambda: tensor[..., ::2].zero_()


def _multiply(tensor: torch.Tensor, factor: float) -> None:
    """Multiply the elements that stay normal numbers.

    Devices treat the others in ways of their own. A kernel of DeepGEMM that packs scale factors even traps on them, and
    takes the CUDA context of the process with it.
    """
    import torch

    product = tensor * factor
    normal = product.isfinite() & (product.abs() >= torch.finfo(tensor.dtype).tiny)
    tensor.copy_(product.where(normal, tensor))


def _compare(subject: KernelTypeUnderTest, shape: Shape, poisoned: Poisoned, m: int, words: str) -> None:
    """One launch, unless the reference itself overflows."""
    kernel_type, buffers = subject.kernel_type, poisoned.buffers
    wanted = reference_of(kernel_type, buffers, m)
    if not all(bool(each.isfinite().all()) for each in wanted.values()):
        return
    with applied(kernel_type, shape):
        value = kernel_type.execute(buffers, m)
    synchronize(subject.device)
    results = results_of(kernel_type, buffers, m, value)
    compare_results(results, wanted, kernel_type.proof.tolerance, location(shape, m), words)
