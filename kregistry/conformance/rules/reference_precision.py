"""Rule for the precision of a reference: higher than that of the launch that it judges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kregistry.conformance.comparison import difference
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.conformance.trial import filled_buffers, reference_or_none
from kregistry.kernel_type import Buffers

if TYPE_CHECKING:
    import torch

_NARROW = ("bfloat16", "float16")
#: FP32 sums differ from FP64 sums by 1e-13 in this measure, what was rounded to BF16 or FP16 by more than 1e-8.
_MOST = 1e-9


@rule("KR140", "the reference does not compute in the narrow dtype of its inputs", needs=("KR122",))
def reference_precision(subject: KernelTypeUnderTest) -> None:
    """The same numbers in FP64 buffers give the same results."""
    kernel_type, m = subject.kernel_type, subject.at("tail")
    for shape in subject.every_shape:
        buffers = filled_buffers(kernel_type, shape, m, subject.padded_rows(m), 0, NAN_POISON, "cpu").buffers
        wide = Buffers(shape, buffers.max_m, {name: _widened(each) for name, each in buffers.tensors.items()})
        wanted = reference_or_none(kernel_type, wide, m)
        if wanted is None:
            continue  # it goes by dtypes
        for name, result in kernel_type.reference(buffers, m).items():
            if not result.is_floating_point() or name not in wanted or wanted[name].shape != result.shape:
                continue
            found = difference(result, wanted[name])
            if found > _MOST:
                got = f"a difference of {found:.2g} from the same in FP64"
                expected = f"at most {_MOST:g}: compute in FP32 or FP64, e.g. a.float() @ b.float().T"
                raise RuleViolation(f"reference(buffers, m={m})[{name!r}]", got, expected, location(shape, m))


def _widened(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if str(tensor.dtype).removeprefix("torch.") in _NARROW else tensor
