"""Cases of the layout kernels; see catalogue_cases.py for what they say."""

from __future__ import annotations

from typing import Any

_FULL = (1, 16384, 16)
_MN_MAJOR = "get_mn_major_tma_aligned_packed_ue8m0_tensor_from_mn_major"
_K_GROUPED = "get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor"
_REQUIRED = "transform_sf_into_required_layout"

CASES: list[tuple[str, dict[str, Any], tuple[int, int, int], int | None, int | None]] = [
    ("get_mn_major_tma_aligned_tensor", {"columns": 56}, _FULL, 1, 1),
    ("get_mn_major_tma_aligned_packed_ue8m0_tensor", {"columns": 56}, _FULL, 1, 1),
    (_MN_MAJOR, {"columns": 56}, (4, 16384, 4), 1, 1),
    (_K_GROUPED, {"num_groups": 4, "mn": 4096}, (1, 512, 1), 1, 1),
    (_K_GROUPED, {"num_groups": 4, "mn": 4096, "use_psum_layout": True}, (1, 512, 1), 1, 1),
    (_REQUIRED, {"k": 7168}, _FULL, 1, 1),
    (_REQUIRED, {"k": 7168, "rows_per_scale": 128}, _FULL, 0, 1),
    (_REQUIRED, {"k": 7168, "columns_per_scale": 32}, _FULL, None, 1),
    (_REQUIRED, {"k": 7168, "disable_ue8m0_cast": True}, _FULL, 1, 1),
]
