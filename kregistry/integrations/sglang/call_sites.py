"""SGLang's call sites in kregistry's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kregistry.kernel_type import Value
from kregistry.target import Target

#: SGLang's DeepGemmKernelType -> (kernel type, whether it has groups). What is not here, SGLang warms up as before.
KERNEL_TYPES: Mapping[str, tuple[str, bool]] = {
    "GEMM_NT_F8F8BF16": ("fp8_gemm_nt", False),
    "GROUPED_GEMM_NT_F8F8BF16_CONTIG": ("m_grouped_fp8_gemm_nt_contiguous", True),
    "GROUPED_GEMM_NT_F8F8BF16_MASKED": ("m_grouped_fp8_gemm_nt_masked", True),
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
    kernel_type, grouped = KERNEL_TYPES[sglang_type]
    groups: Mapping[str, Value] = {"num_groups": num_groups} if grouped else {}
    for scales in ("f32",) if target.arch == "sm90" else ("ue8m0", "f32"):
        yield kernel_type, {**groups, "n": n, "k": k, "scales": scales}
