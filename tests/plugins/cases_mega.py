"""Cases of the mega kernels; see catalogue_cases.py for what they say."""

from __future__ import annotations

from typing import Any

_FULL = (1, 8192, 64)
_TOKENS = {"hidden": 7168, "top_k": 8}
_EVERY = (1, 1024, 1)
_MOE = {"num_experts": 256, "top_k": 8, "hidden": 7168, "intermediate": 2048, "max_tokens": 1152}
_MOE_SM100 = {"num_experts": 256, "top_k": 6, "hidden": 4096, "intermediate": 2048, "max_tokens": 1152}
_LARGE_MOE = {"num_experts": 384, "top_k": 6, "hidden": 7168, "intermediate": 3072, "max_tokens": 8448}

CASES: list[tuple[str, dict[str, Any], tuple[int, int, int], int | None, int | None]] = [
    ("mega_moe_pre_dispatch", _TOKENS, _FULL, 1, 1),
    ("mega_moe_pre_dispatch", {**_TOKENS, "group_size": 128}, _FULL, 1, 1),
    ("mega_moe_pre_dispatch", {**_TOKENS, "activations": "fp4"}, _FULL, 1, 1),
    ("mega_moe_pre_dispatch_sm90", _TOKENS, _FULL, 1, None),
    ("fp8_mega_moe", _MOE, _EVERY, 3, None),
    ("fp8_mega_moe", {**_MOE, "num_ranks": 8}, _EVERY, 4, None),
    ("fp8_fp4_mega_moe", _MOE_SM100, _EVERY, None, 4),
    ("fp8_fp4_mega_moe", {**_MOE_SM100, "num_ranks": 8}, _EVERY, None, 7),
    ("fp8_fp4_mega_moe", {**_LARGE_MOE, "num_ranks": 8}, (1, 8185, 8), None, 10),
    ("bf16_mega_moe", {**_MOE_SM100, "num_ranks": 8}, _EVERY, None, 7),
    # DeepGEMM 0.2 only.
    ("mega_mhc", {"hidden": 7168}, _FULL, None, None),
    ("bf16_mega_gate", {"hidden": 7168, "num_experts": 256, "top_k": 8}, _FULL, None, None),
]
