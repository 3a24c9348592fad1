"""Which kernel type is compared with which oracle, and why others have none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import gemms, mega, others

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
    "k_grouped_fp4_gemm_nt_contiguous": gemms.k_grouped_fp4,
    "einsum": others.einsum,
    "fp8_einsum": others.fp8_einsum,
    "tf32_hc_prenorm_gemm": others.hc_prenorm,
    "fp8_mqa_logits": others.mqa_logits,
    "fp8_fp4_mqa_logits": others.mqa_logits,
    "fp8_paged_mqa_logits": others.paged_mqa_logits,
    "fp8_fp4_paged_mqa_logits": others.paged_mqa_logits,
    "get_mn_major_tma_aligned_tensor": others.transposed,
    "get_mn_major_tma_aligned_packed_ue8m0_tensor": others.packed,
    "get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor": others.packed_by_groups,
    "transform_sf_into_required_layout": others.required_layout,
    "fp8_fp4_sparse_mqa_logits": others.sparse_mqa_logits,
    "fp8_fp4_paged_sparse_mqa_logits": others.paged_sparse_mqa_logits,
    **{f"{kind}_mega_moe": mega.experts for kind in ("bf16", "fp8", "fp8_fp4", "nvfp4")},
    "bf16_mega_gate": mega.gate,
    "mega_mhc": mega.hyper_connections,
    "mega_moe_pre_dispatch": mega.pre_dispatch,
    "mega_moe_pre_dispatch_sm90": mega.pre_dispatch,
}

#: Kernel types whose oracle rounds as the launch does, and whose reference does not: their own tolerance holds.
ROUNDING = frozenset(
    {
        "fp8_einsum_bhr_hdr_bhd_fp8_output",
        "mega_mhc",
        "mega_moe_pre_dispatch",
        "mega_moe_pre_dispatch_nvfp4",
        "mega_moe_pre_dispatch_sm90",
    }
)


def hidden_inputs(name: str, kernel_type: Any, buffers: Any, m: int) -> Mapping[str, Any]:
    """What the oracle of a kernel type needs, and a call does not hold in a form that can be read."""
    if name.endswith("_mega_moe"):  # rows of the symmetric buffer: tests/plugins compare where they are
        slots = kernel_type.slots(buffers.shape)
        return {"slots": {each: slot.view(buffers.symmetric)[:m] for each, slot in slots.items()}}
    if name == "fp8_fp4_sparse_mqa_logits":  # only a GPU makes the metadata
        return {"starts": buffers.ks[:m], "ends": buffers.ke[:m], "blocks": buffers.blocks[:m]}
    if name == "fp8_fp4_paged_sparse_mqa_logits":
        tables = {"lengths": buffers.context_lens, "pages": buffers.block_table, "blocks": buffers.blocks}
        return {each: table[:m] for each, table in tables.items()}
    return {"arch": buffers.shape.target.arch} if name == "transform_sf_into_required_layout" else {}


_SCHEDULE = (
    "it returns a schedule in DeepGEMM's own layout, and many are right: tests/plugins/test_mqa_logits.py counts that "
    "each piece of work is in it once"
)
#: Kernel type -> why it has no oracle.
WITHOUT: dict[str, str] = {
    "get_mqa_logits_metadata": _SCHEDULE,
    "get_paged_mqa_logits_metadata": _SCHEDULE,
    "get_sparse_mqa_logits_metadata": _SCHEDULE,
    "get_paged_sparse_mqa_logits_metadata": _SCHEDULE,
}
