"""Rule for results of a wider dtype than their numbers: FP32 that was BF16 before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.conformance.rules.numerics import device_shapes

if TYPE_CHECKING:
    import torch

#: Narrower dtype -> mask of the lowest bits of an FP32 number, which are zero in what was converted from it.
_LOW_BITS = {"bfloat16": (1 << 16) - 1, "float16": (1 << 13) - 1}
#: Numbers from which on it is no accident, and the share of those of the reference that have low bits.
_NUMBERS, _SHARE = 32, 0.5


@rule("KR322", "FP32 results have the precision of FP32", needs=("KR301",), on_device=True)
def precision(subject: KernelTypeUnderTest) -> None:
    """All results have the low bits of a narrower dtype, and those of the reference do not."""
    m = subject.at("tail")
    for shape in device_shapes(subject):
        trial = subject.trial(shape, m, 0, NAN_POISON)
        for name, got in trial.got.items():
            if str(got.dtype) != "torch.float32":
                continue
            wanted = trial.wanted[name]
            for dtype, mask in _LOW_BITS.items():
                if _share_with_low_bits(got, got, mask) == 0 and _share_with_low_bits(wanted, got, mask) > _SHARE:
                    text = f"FP32 numbers that are all {dtype} numbers"
                    expected = f"FP32 precision, as in the reference; or an output of {dtype}"
                    raise RuleViolation(f"the result {name!r}", text, expected, location(shape, m))


def _share_with_low_bits(tensor: torch.Tensor, got: torch.Tensor, mask: int) -> float:
    """The share of numbers that a narrower dtype cannot hold, of those that are neither zero nor infinite."""
    import torch

    numbers = tensor.float()[got.isfinite() & (got != 0)]
    if numbers.numel() < _NUMBERS:
        return -1.0
    return float(((numbers.contiguous().view(torch.int32) & mask) != 0).double().mean())
