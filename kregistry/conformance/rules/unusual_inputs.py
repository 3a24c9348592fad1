"""Rule for launches on inputs that fill() does not draw: large, small, negative, and rows of zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON, Poisoned, poisoned_buffers
from kregistry.conformance.rule import rule
from kregistry.conformance.rules.numerics import compare_results, device_shapes
from kregistry.conformance.trial import refill, results_of, synchronize
from kregistry.deep_gemm.settings import applied
from kregistry.kernel_type import BufferSpec, Shape

if TYPE_CHECKING:
    import torch

#: Floats that can be multiplied by any power of two that :attr:`Proof.input_exponent` allows.
_WIDE = ("bfloat16", "float32")


@rule("KR311", "results agree for unusual inputs", needs=("KR135", "KR301", "KR305"), on_device=True)
def unusual(subject: KernelTypeUnderTest) -> None:
    """One change of one input at a time, in buffers that are filled anew for each."""
    kernel_type, m = subject.kernel_type, subject.at("tail")
    for shape in device_shapes(subject):
        rows = subject.padded_rows(m)
        poisoned = poisoned_buffers(kernel_type, shape, rows, NAN_POISON, subject.device)
        for name, spec in kernel_type.buffers(shape, rows).items():
            if spec.role == "output" or not _is_float(spec):
                continue
            refill(kernel_type, poisoned, m, 61, subject.device)
            for words, change in _changes(poisoned.buffers.tensors[name], spec, kernel_type.proof.input_exponent):
                refill(kernel_type, poisoned, m, 61, subject.device)
                change()
                _compare(subject, shape, poisoned, m, f" of a launch with {name!r} {words}")


def _is_float(spec: BufferSpec) -> bool:
    return "float" in spec.dtype


def _changes(tensor: torch.Tensor, spec: BufferSpec, exponent: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Changes of a tensor, each with its name. Elements that were not filled are NaN, and stay so.

    Numbers of one byte are neither multiplied, since they saturate, nor are factors that are always positive negated.
    """
    if spec.dtype in _WIDE and exponent:
        yield f"multiplied by 2^{exponent}", lambda: tensor.mul_(2.0**exponent)
        yield f"multiplied by 2^-{exponent}", lambda: tensor.mul_(2.0**-exponent)
    if spec.dtype != "float32" or bool((tensor < 0).any()):
        yield "negated", lambda: tensor.copy_(-tensor.float())
    if tensor.dim() > 1:
        first = tensor[(0,) * (tensor.dim() - 1)]
        yield "whose first row is zeros", lambda: first.zero_()


def _compare(subject: KernelTypeUnderTest, shape: Shape, poisoned: Poisoned, m: int, words: str) -> None:
    """One launch, unless the reference itself overflows."""
    kernel_type, buffers = subject.kernel_type, poisoned.buffers
    wanted = {name: each.clone() for name, each in kernel_type.reference(buffers, m).items()}
    if not all(bool(each.isfinite().all()) for each in wanted.values()):
        return
    with applied(kernel_type, shape):
        value = kernel_type.execute(buffers, m)
    synchronize(subject.device)
    results = results_of(kernel_type, buffers, m, value)
    compare_results(results, wanted, kernel_type.proof.tolerance, location(shape, m), words)
