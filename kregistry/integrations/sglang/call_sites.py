"""The call sites that SGLang warms up, as kernel types and shapes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from kregistry.kernel_type import Value

#: SGLang's DeepGemmKernelType -> kernel type. SGLang warms up the others itself: GEMM_NT_BF16BF16F32, which its
#: DeepGEMM hands to cuBLASLt, and GEMM_NT_F8F8BF16_BLOCK32 (Blackwell only).
KERNEL_TYPES: Mapping[str, str] = {
    "GEMM_NT_F8F8BF16": "fp8_gemm_nt",
    "GROUPED_GEMM_NT_F8F8BF16_CONTIG": "m_grouped_fp8_gemm_nt_contiguous",
    "GROUPED_GEMM_NT_F8F8BF16_MASKED": "m_grouped_fp8_gemm_nt_masked",
    "GROUPED_GEMM_NT_BF16_CONTIG": "m_grouped_bf16_gemm_nt_contiguous",
    "GROUPED_GEMM_NT_BF16_MASKED": "m_grouped_bf16_gemm_nt_masked",
}

#: Policies by which SGLang 0.5.23 derives num_splits from the number of tokens: its own kernels', and FlashInfer's.
HC_NUM_SPLITS = ("occupancy", "flashinfer-buckets")


@frozen
class WarmupGroup:
    """What SGLang warms up in one go: one of its kernel types for one (n, k, number of groups).

    Attributes:
        kernel_type: a member of SGLang's DeepGemmKernelType.
    """

    kernel_type: Any
    n: int
    k: int
    num_groups: int

    @property
    def key(self) -> tuple[int, int, int, int]:
        """Hashable, and quick to make: hashing the member itself would run Python code of enum."""
        return (self.kernel_type._value_, self.n, self.k, self.num_groups)

    def __str__(self) -> str:
        return f"{self.kernel_type.name} n={self.n} k={self.k}"

    def shapes(self, scale_forms: Collection[str]) -> Iterator[tuple[str, Mapping[str, Value]]]:
        """(kernel type, shape) of the calls of this group; nothing if kregistry has no kernel type for it."""
        name = self.kernel_type.name
        if name not in KERNEL_TYPES:
            return
        shape: dict[str, Value] = {"num_groups": self.num_groups} if name.startswith("GROUPED") else {}
        shape |= {"n": self.n, "k": self.k}
        if "F8F8" not in name:
            yield KERNEL_TYPES[name], shape
            return
        for scales in scale_forms:
            yield KERNEL_TYPES[name], {**shape, "scales": scales}


def read_compile(
    kernel_type: Any, n: int, k: int, num_groups: int, m_list: Sequence[int], *_: object, **__: object
) -> tuple[WarmupGroup, int]:
    """(group, largest m) of a call of SGLang's ``_compile_deep_gemm_one_type_all``; more arguments are ignored."""
    return WarmupGroup(kernel_type, n, k, num_groups), max(m_list)


def execution_key(
    m: int, n: int, k: int, num_groups: int, kernel_type: Any, *_: object, **__: object
) -> tuple[int, int, int, int]:
    """:attr:`WarmupGroup.key` of a call of SGLang's ``deep_gemm_execution_hook``; more arguments are ignored."""
    return (kernel_type._value_, n, k, num_groups)
