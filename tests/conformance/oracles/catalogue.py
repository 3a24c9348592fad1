"""Which kernel type is compared with which oracle, and why others have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import gemms, others

_KINDS = ("bf16", "fp8", "fp8_fp4", "fp4")
#: Name of DeepGEMM's function -> the oracle.
ORACLES: dict[str, Callable[..., Any]] = {
    **{f"{kind}_gemm_{layout}": gemms.dense(layout) for kind in _KINDS for layout in ("nt", "nn", "tn", "tt")},
    **{
        f"m_grouped_{kind}_gemm_{layout}_contiguous": gemms.contiguous(layout)
        for kind in _KINDS
        for layout in ("nt", "nn")
    },
    **{f"m_grouped_{kind}_gemm_nt_masked": gemms.masked for kind in _KINDS},
    "fp8_gemm_nt_skip_head_mid": gemms.skip_head_mid,
    "k_grouped_bf16_gemm_tn_contiguous": gemms.k_grouped_tn,
    "k_grouped_fp8_gemm_tn_contiguous": gemms.k_grouped_tn,
    "k_grouped_fp8_gemm_nt_contiguous": gemms.k_grouped_nt,
    "einsum": others.einsum,
    "fp8_einsum": others.fp8_einsum,
    "tf32_hc_prenorm_gemm": others.hc_prenorm,
    "fp8_mqa_logits": others.mqa_logits,
    "fp8_fp4_mqa_logits": others.mqa_logits,
    "fp8_paged_mqa_logits": others.paged_mqa_logits,
    "fp8_fp4_paged_mqa_logits": others.paged_mqa_logits,
    "get_mn_major_tma_aligned_tensor": others.transposed,
    "get_mn_major_tma_aligned_packed_ue8m0_tensor": others.packed,
}

_SCHEDULE = "a schedule, of which any division of the work is right; the logits that follow from it are compared"
_LAYER = "a whole expert layer, whose parts are compared: an oracle of all of it is not written yet"
_FP4 = "FP4 logits of chosen blocks, for SM100 only: an oracle is not written yet"
_QUANTISES = "it quantises tokens, as the fill() of other kernel types does: an oracle is not written yet"
_LAYOUT = "it moves scale factors without computing: its reference is the layout, which the GEMMs that read it prove"
#: Kernel type -> why it has no oracle.
WITHOUT: dict[str, str] = {
    "bf16_mega_gate": _LAYER,
    "bf16_mega_moe": _LAYER,
    "fp8_fp4_mega_moe": _LAYER,
    "fp8_mega_moe": _LAYER,
    "nvfp4_mega_moe": _LAYER,
    "mega_mhc": _LAYER,
    "mega_moe_pre_dispatch": _QUANTISES,
    "mega_moe_pre_dispatch_nvfp4": _QUANTISES,
    "mega_moe_pre_dispatch_sm90": _QUANTISES,
    "fp8_einsum_bhr_hdr_bhd_fp8_output": _QUANTISES,
    "fp8_fp4_sparse_mqa_logits": _FP4,
    "fp8_fp4_paged_sparse_mqa_logits": _FP4,
    "m_grouped_fp8_fp4_gemm_nn_contiguous": "FP4 weights that are stored as [k, n], for SM100 only: not written yet",
    "k_grouped_fp4_gemm_nt_contiguous": "FP4 operands by k, for SM100 only: an oracle is not written yet",
    "get_mqa_logits_metadata": _SCHEDULE,
    "get_paged_mqa_logits_metadata": _SCHEDULE,
    "get_sparse_mqa_logits_metadata": _SCHEDULE,
    "get_paged_sparse_mqa_logits_metadata": _SCHEDULE,
    "get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor": _LAYOUT,
    "transform_sf_into_required_layout": _LAYOUT,
}
