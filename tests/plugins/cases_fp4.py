"""Cases of FP4 and FP8 kernel types that DeepGEMM 0.2 brought; see catalogue_cases.py for what they say."""

from __future__ import annotations

from typing import Any

_StackB = tuple[int | None, int | None, int | None]
_A = tuple[str, dict[str, Any], tuple[int, int, int], int | None, int | None]
_K_GROUPED = {"num_groups": 4, "m": 4096, "n": 7168}

CASES: list[_A | tuple[str, dict[str, Any], tuple[int, int, int], int | None, int | None, _StackB]] = [
    # Of 1024 rows and more; fewer have a kernel of their own, which the next one has.
    ("k_grouped_fp4_gemm_nt_contiguous", _K_GROUPED, (1024, 65536, 1024), None, None, (None, 3, None)),
    (
        "k_grouped_fp4_gemm_nt_contiguous",
        {**_K_GROUPED, "scales": "ue8m0"},
        (256, 65536, 256),
        None,
        None,
    ),
    (
        "fp8_einsum_bhr_hdr_bhd_fp8_output",
        {"h": 8, "r": 4096, "d": 1024},
        (1, 16384, 16),
        None,
        None,
        (None, 20, None),
    ),
]
