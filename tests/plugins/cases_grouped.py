"""Cases of grouped GEMMs, einsum and rarer dense FP8 GEMMs; see catalogue_cases.py for what they say."""

from __future__ import annotations

from typing import Any

_GROUPED = {"num_groups": 32, "n": 4096, "k": 7168}
#: Kernels of einsum change only at values 16 i + 1 on these arches (measured at every value).
_FULL = (1, 16384, 16)
_MASKED = {"num_groups": 9, "n": 4096, "k": 7168}
_HEADS = {"h": 8, "r": 4096, "d": 1024}
_ALIGNED = (128, 16384, 128)
# With less than 512 rows in all, sm100 has one BF16 kernel more.
_K = (512, 8192, 128)

CASES: list[tuple[str, dict[str, Any], tuple[int, int, int], int | None, int | None]] = [
    ("m_grouped_fp8_gemm_nt_contiguous", _GROUPED, _ALIGNED, 12, 1),
    ("m_grouped_fp8_gemm_nn_contiguous", _GROUPED, _ALIGNED, 12, 1),
    ("m_grouped_fp8_gemm_nt_contiguous", {**_GROUPED, "use_psum_layout": True}, _ALIGNED, 10, 1),
    ("m_grouped_fp8_gemm_nt_contiguous", {**_GROUPED, "mk_alignment": 64}, (64, 16384, 64), 12, 1),
    ("m_grouped_fp8_gemm_nt_contiguous", {**_GROUPED, "mk_alignment": 224}, (224, 16352, 224), 9, 1),
    ("m_grouped_fp8_gemm_nt_contiguous", {**_GROUPED, "mk_alignment": 256}, (256, 16384, 256), 9, 1),
    ("m_grouped_bf16_gemm_nt_contiguous", {**_GROUPED, "use_psum_layout": True}, _ALIGNED, 14, 1),
    ("m_grouped_fp8_gemm_nt_masked", _MASKED, (1, 4096, 64), 4, 1),
    ("m_grouped_fp8_gemm_nt_masked", {**_MASKED, "mk_alignment": 64}, (1, 4096, 64), 4, 1),
    ("m_grouped_fp8_fp4_gemm_nt_contiguous", _GROUPED, _ALIGNED, None, 1),
    ("m_grouped_fp8_fp4_gemm_nn_contiguous", _GROUPED, _ALIGNED, None, 1),
    ("m_grouped_fp8_fp4_gemm_nt_masked", _MASKED, (1, 4096, 64), None, 1),
    ("m_grouped_mxfp8_gemm_nt_contiguous", _GROUPED, _ALIGNED, None, 1),
    ("m_grouped_mxfp8_gemm_nt_masked", _MASKED, (1, 4096, 64), None, 1),
    ("m_grouped_fp4_gemm_nt_contiguous", _GROUPED, _ALIGNED, None, 1),
    ("m_grouped_fp4_gemm_nt_masked", _MASKED, (1, 4096, 64), None, 1),
    ("k_grouped_bf16_gemm_tn_contiguous", {"num_groups": 4, "m": 4096, "n": 7168}, _K, 1, 1),
    ("k_grouped_fp8_gemm_nt_contiguous", {"num_groups": 4, "m": 4096, "n": 7168}, _K, 1, None),
    ("k_grouped_fp8_gemm_nt_contiguous", {"num_groups": 8, "m": 4096, "n": 7168}, (128, 8192, 128), 2, None),
    ("k_grouped_fp8_gemm_tn_contiguous", {"num_groups": 4, "m": 4096, "n": 7168}, _K, None, 2),
    ("einsum_bhr_hdr_bhd", {"h": 128, "r": 512, "d": 128}, _FULL, 5, 17),
    ("einsum_bhr_hdr_bhd", {"h": 8, "r": 4096, "d": 1024}, _FULL, 9, 19),
    ("einsum_bhd_hdr_bhr", {"h": 128, "r": 512, "d": 128}, _FULL, 4, 16),
    ("einsum_bhd_hdr_bhr", {"h": 8, "r": 4096, "d": 1024}, _FULL, 4, 12),
    ("fp8_einsum_bhr_hdr_bhd", {**_HEADS, "scales": "ue8m0"}, _FULL, None, 17),
    ("fp8_einsum_bhr_hdr_bhd", {**_HEADS, "scales": "ue8m0", "scale_columns": 32}, _FULL, None, 17),
    ("fp8_einsum_bhd_hdr_bhr", _HEADS, _FULL, None, 16),
    ("fp8_einsum_bhd_bhr_hdr", _HEADS, (128, 8192, 128), None, 2),
    ("fp8_gemm_nt_block32", {"n": 4096, "k": 7168}, _FULL, None, 19),
    ("fp8_gemm_nt_skip_head_mid", {"n": 32768, "k": 512}, _FULL, 7, 11),
    # A kernel for each split of the batch: 22 to 25 products each.
    ("einsum_bmk_bnk_mn", {"m": 128, "n": 384, "k": 128}, (1, 512, 1), 24, 21),
    ("einsum_bmk_bnk_mn_accumulate", {"m": 128, "n": 384, "k": 128}, (1, 512, 1), 24, 21),
]
