"""What the catalogue must plan with DeepGEMM 0.1: entry, shape, range, kernels on h100 and b200.

Kernels that convert scale factors count. The numbers were measured by an independent program that calls DeepGEMM on
another stub GPU; ``None`` means refused.
"""

from __future__ import annotations

from typing import Any

from tests.plugins import cases_layout, cases_mega

Case = tuple[str, dict[str, Any], tuple[int, int, int], int | None, int | None]

#: Kernels change only at values 16 i + 1 on these arches (measured at every value), so these find all of them.
_FULL = (1, 16384, 16)
_GROUPED = {"num_groups": 32, "n": 4096, "k": 7168}
_MASKED = {"num_groups": 9, "n": 4096, "k": 7168}
_NK = {"n": 2112, "k": 7168}

CASES: list[Case] = [
    ("bf16_gemm_nt", {"n": 64, "k": 7168}, _FULL, 7, 12),
    ("bf16_gemm_nt", {"n": 64, "k": 7168, "output": "float32"}, _FULL, 7, 12),
    ("bf16_gemm_nt", _NK, _FULL, 28, 27),
    ("bf16_gemm_nn", _NK, _FULL, 22, 18),
    ("bf16_gemm_tn", _NK, (8, 16384, 8), 21, 10),
    ("bf16_gemm_tt", _NK, (8, 16384, 8), 27, 20),
    ("m_grouped_bf16_gemm_nt_contiguous", _GROUPED, (128, 16384, 128), 16, 1),
    ("m_grouped_bf16_gemm_nn_contiguous", _GROUPED, (128, 16384, 128), 11, 1),
    ("m_grouped_bf16_gemm_nt_masked", _MASKED, (1, 4096, 64), 5, 1),
    ("fp8_gemm_nn", _NK, _FULL, 25, 15),
    ("fp8_gemm_tn", _NK, (16, 16384, 16), 25, 7),
    ("fp8_gemm_tt", _NK, (16, 16384, 16), 25, 15),
    ("fp8_gemm_nt_wgrad", _NK, _FULL, 23, 26),
    ("mxfp8_gemm_nt", {"n": 4096, "k": 7168}, _FULL, None, 18),
    ("fp8_fp4_gemm_nt", {"n": 4096, "k": 7168}, _FULL, None, 18),
    ("fp4_gemm_nt", {"n": 4096, "k": 7168}, _FULL, None, 18),
    ("fp8_einsum_bhr_hdr_bhd", {"h": 8, "r": 4096, "d": 1024}, _FULL, 10, 18),
    ("fp8_einsum_bhr_hdr_bhd", {"h": 2, "r": 4096, "d": 1024}, _FULL, 19, 23),
]
CASES += cases_layout.CASES + cases_mega.CASES
