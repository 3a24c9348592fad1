"""Cases of grouped GEMMs and einsum; see catalogue_cases.py for what they say."""

from __future__ import annotations

from typing import Any

_GROUPED = {"num_groups": 32, "n": 4096, "k": 7168}
_ALIGNED = (128, 16384, 128)

CASES: list[tuple[str, dict[str, Any], tuple[int, int, int], int | None, int | None]] = [
    ("m_grouped_fp8_gemm_nt_contiguous", _GROUPED, _ALIGNED, 12, 1),
    ("m_grouped_fp8_gemm_nn_contiguous", _GROUPED, _ALIGNED, 12, 1),
]
