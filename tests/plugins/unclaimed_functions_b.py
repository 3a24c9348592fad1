"""What DeepGEMM 0.2 has more, and less, than the list of unclaimed_functions.py, which is of DeepGEMM 0.1."""

from __future__ import annotations

from tests.plugins.unclaimed_functions import _CUBLASLT, _HOST, _TORCH

#: Unclaimed functions that DeepGEMM 0.1 does not have, and why they are not claimed.
ADDED: dict[str, tuple[str, ...]] = {
    _CUBLASLT: ("batched_symm", "batched_syrk", "cublaslt_nvfp4_gemm_nt"),
    _TORCH: (
        "cast_back_from_fp8",
        "cast_to_ue4m3",
        "pack_ue4m3_to_int",
        "per_token_cast_to_nvfp4",
        "transform_scales_for_mega_moe",
        "transform_ue4m3_sf_into_required_layout",
        "unpack_ue4m3_from_int",
    ),
    _HOST: (
        "get_bf16_mega_gate_config",
        "get_block_m_for_mega_moe",
        "get_deterministic_algorithms",
        "set_block_size_multiple_of",
        "set_ignore_compile_dims",
        "use_deterministic_algorithms",
    ),
}

#: Names of the list of DeepGEMM 0.1 that DeepGEMM 0.2 does not have.
GONE = ("get_cuda_arch",)
