"""What the catalogue must plan: kernel type, shape, range; kernels on h100 and b200 with DeepGEMM 0.1; and, if it was
measured, on h100, b200 and rtx-pro-6000 with DeepGEMM 0.2.

Kernels that convert scale factors count. The numbers were measured by an independent program that calls DeepGEMM on
another stub GPU; ``None`` means refused. What it did not measure is kept in docs/catalogue.json, as planned.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

_StackB = tuple[int | None, int | None, int | None]
_A = tuple[str, dict[str, Any], tuple[int, int, int], int | None, int | None]
Case = _A | tuple[str, dict[str, Any], tuple[int, int, int], int | None, int | None, _StackB]

#: Kernels change only at values 16 i + 1 on these arches (measured at every value), so these find all of them.
_FULL = (1, 16384, 16)
_GROUPED = {"num_groups": 32, "n": 4096, "k": 7168}
_MASKED = {"num_groups": 9, "n": 4096, "k": 7168}
_NK = {"n": 2112, "k": 7168}
_HC = {"n": 24, "k": 28672}

CASES: list[Case] = [
    ("bf16_gemm_nt", {"n": 64, "k": 7168}, _FULL, 7, 12, (0, 0, 0)),
    ("bf16_gemm_nt", {"n": 64, "k": 7168, "output": "float32"}, _FULL, 7, 12, (0, 0, 0)),
    ("bf16_gemm_nt", _NK, _FULL, 28, 27, (0, 0, 0)),
    ("bf16_gemm_nt", {**_NK, "deterministic": True}, _FULL, None, None, (28, 27, 7)),
    ("bf16_gemm_nn", _NK, _FULL, 22, 18, (0, 0, 0)),
    ("bf16_gemm_tn", _NK, (8, 16384, 8), 21, 10, (0, 0, 0)),
    ("bf16_gemm_tt", _NK, (8, 16384, 8), 27, 20, (0, 0, 0)),
    ("m_grouped_bf16_gemm_nt_contiguous", _GROUPED, (128, 16384, 128), 16, 1, (16, 1, 5)),
    ("m_grouped_bf16_gemm_nn_contiguous", _GROUPED, (128, 16384, 128), 11, 1, (11, 1, 5)),
    ("m_grouped_bf16_gemm_nt_masked", _MASKED, (1, 4096, 64), 5, 1, (5, 1, 3)),
    ("fp8_gemm_nt", _NK, _FULL, 25, 25, (25, 27, 9)),
    ("fp8_gemm_nt", {"n": 24576, "k": 1536}, _FULL, 8, 12, (8, 14, 4)),
    ("fp8_gemm_nt", {"n": 7168, "k": 2048}, _FULL, 14, 17, (14, 19, 7)),
    ("fp8_gemm_nt", {"n": 4096, "k": 7168}, _FULL, 20, 18, (20, 20, 7)),
    ("fp8_gemm_nn", _NK, _FULL, 25, 15, (25, 15, 9)),
    ("fp8_gemm_tn", _NK, (16, 16384, 16), 25, 7, (25, 10, 9)),
    ("fp8_gemm_tt", _NK, (16, 16384, 16), 25, 15, (25, 18, 9)),
    ("fp8_gemm_nt_wgrad", _NK, _FULL, 23, 26, (23, 28, 9)),
    ("mxfp8_gemm_nt", {"n": 4096, "k": 7168}, _FULL, None, 18, (None, 20, 8)),
    ("fp8_fp4_gemm_nt", {"n": 4096, "k": 7168}, _FULL, None, 18, (None, 20, 5)),
    ("fp4_gemm_nt", {"n": 4096, "k": 7168}, _FULL, None, 18, (None, 20, 7)),
    ("m_grouped_fp8_gemm_nt_masked", _MASKED, (1, 4096, 64), 4, 1, (4, 1, 3)),
    ("m_grouped_fp8_gemm_nt_masked", {"num_groups": 9, "n": 7168, "k": 2048}, (1, 4096, 64), 3, 1, (3, 1, 3)),
    ("fp8_einsum_bhr_hdr_bhd", {"h": 8, "r": 4096, "d": 1024}, _FULL, 10, 18, (10, 20, 37)),
    ("fp8_einsum_bhr_hdr_bhd", {"h": 2, "r": 4096, "d": 1024}, _FULL, 19, 23, (19, 25, 37)),
    ("tf32_hc_prenorm_gemm", _HC, _FULL, 1, 1, (1, 1, 1)),
    ("tf32_hc_prenorm_gemm", {**_HC, "num_splits": 16}, _FULL, 1, 1, (1, 1, 1)),
]
# Each family of kernel types has its cases in a file of its own.
for _file in sorted(Path(__file__).parent.glob("cases_*.py")):
    CASES += import_module(f"tests.plugins.{_file.stem}").CASES
