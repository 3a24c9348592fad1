"""Rule for random inputs: rows, columns, and integers of different seeds can be told apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.conformance.rules.filling import INDEX_TYPES
from kregistry.conformance.trial import filled_buffers
from kregistry.kernel_type import BufferSpec, Shape

if TYPE_CHECKING:
    import torch

#: Data, as bits of the same size. FP32 numbers that are all positive are scale factors, which may repeat.
_DATA = {"bfloat16": "int16", "float16": "int16", "float8_e4m3fn": "uint8", "float32": "int32"}
#: Elements from which on two equal rows are no accident.
_LONG = 12
#: Matrices of a batch that are looked at.
_MATRICES = 4


@rule("KR135", "random inputs can be told apart", needs=("KR126",))
def distinct(subject: KernelTypeUnderTest) -> None:
    for shape in subject.every_shape:
        _check_data(subject, shape)
    found = [each for shape in subject.every_shape for each in _integers(subject, shape)]
    varying = {name for name, fault in found if fault is None}  # at one shape is enough: a dimension may fix them
    for name, fault in found:
        if fault is not None and name not in varying:
            raise fault


def _check_data(subject: KernelTypeUnderTest, shape: Shape) -> None:
    """Equal rows or columns: a launch that takes one for the other is not found."""
    kernel_type, m = subject.kernel_type, subject.at("tail")
    buffers = filled_buffers(kernel_type, shape, m, subject.padded_rows(m), 0, NAN_POISON, "cpu").buffers
    for name, spec in kernel_type.buffers(shape, buffers.max_m).items():
        tensor = buffers.tensors[name]
        if spec.role == "output" or spec.dtype not in _DATA or tensor.dim() < 2:
            continue
        if spec.dtype == "float32" and not bool((tensor < 0).any()):
            continue
        for words, values in (("row", tensor), ("column", tensor.mT)):
            if spec.dtype == "float32" and words == "row":
                continue  # padding of scale factors
            pair = _equal_rows(values, spec, zeros_may_repeat=words == "row")
            if pair is not None:
                got = f"the {words}s {pair[0]} and {pair[1]} are the same"
                wanted = "random numbers: a launch that takes one for the other, or leaves one out, is not found"
                raise RuleViolation(f"{name!r} after fill(buffers, m={m})", got, wanted, location(shape, m))


def _equal_rows(values: torch.Tensor, spec: BufferSpec, zeros_may_repeat: bool) -> tuple[int, int] | None:
    """Two equal rows of one matrix, if there are any. Those that nobody filled do not count; padding may be zeros."""
    import torch

    if values.shape[-1] < _LONG:
        return None
    for matrix in values.reshape(-1, *values.shape[-2:])[:_MATRICES]:
        filled = (~matrix.float().isnan()).any(1)
        if zeros_may_repeat:
            filled &= (matrix.float() != 0).any(1)
        numbers = filled.nonzero().flatten()
        bits = matrix.contiguous().view(getattr(torch, _DATA[spec.dtype]))[numbers]
        # A row by one number, a sum modulo 2^64: to sort whole rows takes seconds.
        factors = torch.randint(-(2**62), 2**62, bits.shape[1:], generator=torch.Generator().manual_seed(0))
        _, group = torch.unique((bits.long() * factors).sum(1), return_inverse=True)
        order = group.argsort(stable=True)
        same = (group[order][1:] == group[order][:-1]).nonzero().flatten()
        if same.numel():
            first = int(same[0])
            return int(numbers[order[first]]), int(numbers[order[first + 1]])
    return None


def _integers(subject: KernelTypeUnderTest, shape: Shape) -> Iterator[tuple[str, RuleViolation | None]]:
    """Each buffer of indices or counts, with a violation if it is the same for each seed."""
    kernel_type, m = subject.kernel_type, subject.at("tail")
    first, *others = (
        filled_buffers(kernel_type, shape, m, subject.padded_rows(m), seed, NAN_POISON, "cpu") for seed in (0, 1, 2)
    )
    for name, spec in kernel_type.buffers(shape, subject.padded_rows(m)).items():
        if spec.role == "output" or spec.dtype not in INDEX_TYPES or not spec.affects_results:
            continue
        fault = None
        if all(first.regions[name].equal(other.regions[name]) for other in others):
            got, wanted = (
                "the same integers for three seeds",
                "integers that vary: a launch that ignores them would agree",
            )
            fault = RuleViolation(f"{name!r} after fill(buffers, m={m})", got, wanted, location(shape, m))
        yield name, fault
