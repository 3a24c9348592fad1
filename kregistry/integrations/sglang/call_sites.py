"""SGLang's call sites in kregistry's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kregistry.kernel_type import Value
from kregistry.target import Target

#: SGLang's DeepGemmKernelType -> kernel type. What is not here, SGLang warms up as before:
#: GEMM_NT_BF16BF16F32, which its DeepGEMM hands to cuBLASLt, and GEMM_NT_F8F8BF16_BLOCK32 (Blackwell only).
KERNEL_TYPES: Mapping[str, str] = {
    "GEMM_NT_F8F8BF16": "fp8_gemm_nt",
    "GROUPED_GEMM_NT_F8F8BF16_CONTIG": "m_grouped_fp8_gemm_nt_contiguous",
    "GROUPED_GEMM_NT_F8F8BF16_MASKED": "m_grouped_fp8_gemm_nt_masked",
    "GROUPED_GEMM_NT_BF16_CONTIG": "m_grouped_bf16_gemm_nt_contiguous",
    "GROUPED_GEMM_NT_BF16_MASKED": "m_grouped_bf16_gemm_nt_masked",
}

#: How SGLang 0.5.23 derives num_splits from the number of tokens: its own kernels, and FlashInfer's.
HC_NUM_SPLITS = ("occupancy", "flashinfer-buckets")


def shapes(
    sglang_type: str, n: int, k: int, num_groups: int, target: Target
) -> Iterator[tuple[str, Mapping[str, Value]]]:
    """(kernel type, shape) of one of SGLang's groups; none if kregistry does not know it.

    On Blackwell SGLang's layers pass packed scale factors, and its own warm-up float32 ones: both are covered.
    """
    if sglang_type not in KERNEL_TYPES:
        return
    shape: dict[str, Value] = {"num_groups": num_groups} if sglang_type.startswith("GROUPED") else {}
    shape |= {"n": n, "k": k}
    if "F8F8" not in sglang_type:
        yield KERNEL_TYPES[sglang_type], shape
        return
    for scales in ("f32",) if target.arch == "sm90" else ("ue8m0", "f32"):
        yield KERNEL_TYPES[sglang_type], {**shape, "scales": scales}
