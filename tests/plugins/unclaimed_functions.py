"""Public functions of DeepGEMM that no kernel type of the catalogue claims, and why. A function that is in neither
place fails tests/plugins/test_coverage.py: DeepGEMM has gained something that the catalogue should know of.
"""

from __future__ import annotations

_CUBLASLT = "cuBLASLt: compiles no kernel"
_TORCH = "torch operations: compiles no kernel"
_HOST = "host code: settings, sizes, set-up"

UNCLAIMED: dict[str, tuple[str, ...]] = {
    _CUBLASLT: ("cublaslt_gemm_nn", "cublaslt_gemm_nt", "cublaslt_gemm_tn", "cublaslt_gemm_tt"),
    _TORCH: (
        "cast_back_from_fp4",
        "ceil_to_ue8m0",
        "pack_ue8m0_to_int",
        "per_block_cast_to_fp8",
        "per_channel_cast_to_fp8",
        "per_custom_dims_cast_to_fp8",
        "per_token_cast_to_fp4",
        "per_token_cast_to_fp8",
        "transform_weights_for_mega_moe",
        "transform_weights_for_mega_moe_sm90",
        "transpose_packed_fp4",
        "unpack_ue8m0_from_int",
    ),
    _HOST: (
        "align",
        "ceil_div",
        "find_cuda_home",
        "get_cuda_arch",
        "get_k_alignment_for_contiguous_layout",
        "get_m_alignment_for_contiguous_layout",
        "get_mk_alignment_for_contiguous_layout",
        "get_num_sms",
        "get_pdl",
        "get_symm_buffer_for_mega_moe",
        "get_symm_buffer_for_sm90_mega_moe",
        "get_tc_util",
        "get_theoretical_mk_alignment_for_contiguous_layout",
        "get_tma_aligned_size",
        "init_dist",
        "set_mk_alignment_for_contiguous_layout",
        "set_num_sms",
        "set_pdl",
        "set_tc_util",
        "uneven_all_gather",
    ),
}
