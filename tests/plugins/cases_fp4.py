"""Cases of FP4 and FP8 kernel types that DeepGEMM 0.2 brought; see catalogue_cases.py for what they say."""

from __future__ import annotations

from typing import Any

_StackB = tuple[int | None, int | None, int | None]
_A = tuple[str, dict[str, Any], tuple[int, int, int], int | None, int | None]
_K_GROUPED = {"num_groups": 4, "m": 4096, "n": 7168}
_MOE = {"num_experts": 256, "top_k": 6, "hidden": 4096, "intermediate": 2048, "max_tokens": 1920, "num_ranks": 8}
_PLAIN = {"use_x_scales": False, "l1_alphas": False, "l2_alphas": False, "l2_act_scales": False}

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
    ("nvfp4_mega_moe", {**_MOE, **_PLAIN}, (1, 1024, 1), None, None, (None, 6, None)),
    ("nvfp4_mega_moe", _MOE, (1, 1920, 1), None, None),
    ("mega_moe_pre_dispatch_nvfp4", {"hidden": 7168, "top_k": 8}, (1, 8192, 64), None, None),
]
