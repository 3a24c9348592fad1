"""Rule for how far one number of an input reaches: as far as in the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON, Poisoned, poisoned_buffers
from kregistry.conformance.rule import NotApplicable, RuleViolation, rule
from kregistry.conformance.rules.numerics import compare_results, device_shapes
from kregistry.conformance.trial import reference_or_none, refill, results_of
from kregistry.deep_gemm.settings import applied
from kregistry.kernel_type import KernelType, Shape

if TYPE_CHECKING:
    import torch

_FLOATS = ("bfloat16", "float16", "float32")
#: The factor of a row, as a power of two: most of a common scale of 8 bits would be lost for all others.
_EXPONENT = 12


@rule(
    "KR320", "a row of an input reaches the results that it reaches in the reference", needs=("KR311",), on_device=True
)
def reach(subject: KernelTypeUnderTest) -> None:
    """NaN, infinity, or a large row: where the reference is as before, the launch is as before."""
    if subject.device != "cpu":
        raise NotApplicable("it is checked on a CPU only")
    kernel_type, m = subject.kernel_type, subject.at("tail")
    exponent = min(_EXPONENT, kernel_type.proof.input_exponent)
    for shape in device_shapes(subject):
        rows = subject.padded_rows(m)
        poisoned = poisoned_buffers(kernel_type, shape, rows, NAN_POISON, "cpu")
        for name, spec in kernel_type.buffers(shape, rows).items():
            if spec.role != "output" and spec.dtype in _FLOATS:
                for words, change in _changes(poisoned.buffers.tensors[name], exponent):
                    _check(kernel_type, poisoned, shape, m, f"with {name!r} {words}", change)


def _changes(tensor: torch.Tensor, exponent: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Changes of the first row of a tensor; of one without rows, of its first number."""
    row = tensor[(0,) * (tensor.dim() - 1)] if tensor.dim() > 1 else tensor[:1]
    yield "that begins with NaN", lambda: row[:1].fill_(float("nan"))
    yield "that begins with infinity", lambda: row[:1].fill_(float("inf"))
    if exponent:
        yield f"whose first row is multiplied by 2^{exponent}", lambda: row.mul_(2.0**exponent)


def _check(
    kernel_type: KernelType, poisoned: Poisoned, shape: Shape, m: int, words: str, change: Callable[[], object]
) -> None:
    refill(kernel_type, poisoned, m, 63, "cpu")
    before = reference_or_none(kernel_type, poisoned.buffers, m)
    change()
    wanted = reference_or_none(kernel_type, poisoned.buffers, m)
    if before is None or wanted is None or any(before[name].shape != each.shape for name, each in wanted.items()):
        return
    try:
        with applied(kernel_type, shape):
            value = kernel_type.execute(poisoned.buffers, m)
    except Exception:  # any: it refuses the number, which is right too
        return
    results = results_of(kernel_type, poisoned.buffers, m, value)
    _check_reached(f"the results of a launch {words}", results, wanted, location(shape, m))
    same: dict[str, torch.Tensor] = {}
    expected: dict[str, torch.Tensor] = {}
    for name, each in wanted.items():
        got = results[name]
        kept = (each == before[name]) & got.isfinite()
        same[name], expected[name] = got.where(kept, got.new_zeros(())), each.where(kept, each.new_zeros(()))
    text = f", where nothing depends on it, of a launch {words}"
    compare_results(same, expected, kernel_type.proof.tolerance, location(shape, m), text)


def _check_reached(what: str, got: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], where: str) -> None:
    """Some result is NaN or infinite if one of the reference is, and only where it is.

    A reference may multiply by zero what a launch leaves out: it then has more of them.
    """
    reached = {name: int((~each.isfinite()).sum()) for name, each in wanted.items()}
    if any(reached.values()) and all(bool(got[name].isfinite().all()) for name in wanted):
        found, number = "finite numbers only", sum(reached.values())
        raise RuleViolation(what, found, f"NaN or infinity, as in {number} numbers of the reference", where)
    for name, each in wanted.items():
        spread = int((~got[name].isfinite() & each.isfinite()).sum())
        if spread:
            found = f"{spread} numbers of {name!r} that are NaN or infinite"
            raise RuleViolation(what, found, "finite ones there, as in the reference", where)
