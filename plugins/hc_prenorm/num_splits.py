"""How engines choose ``num_splits`` of ``tf32_hc_prenorm_gemm`` from the number of tokens.

One kernel is compiled for each distinct value, so the rule decides the number of kernels.
"""

from __future__ import annotations

from kregistry import Shape

#: Rows of a block of DeepGEMM: every policy only sees ``ceil(m / ROWS)``.
ROWS = 64
#: The values of FlashInfer's variant in SGLang.
_FLASHINFER_VALUES = (16, 8, 4, 2, 1)


def occupancy(shape: Shape, m: int) -> int:
    """Fill the SMs: ``max(1, min(SMs // ceil(m / 64), ceil(k / 64) // 4))``.

    Source: SGLang 0.5.23, ``kernels/ops/layernorm/mhc.py``, ``_compute_num_split_for_mhc_pre``; the same formula is
    ``compute_num_split`` in vLLM 0.33.0. SMs is the number of the device, not ``deep_gemm.get_num_sms()``.
    """
    row_blocks = max(-(-m // ROWS), 1)
    return max(1, min(shape.target.num_sms // row_blocks, -(-int(shape.k) // 64) // 4))


def vllm_buckets(shape: Shape, m: int) -> int:
    """vLLM 0.33.0, ``compute_mhc_pre_num_splits``: occupancy 1 -> 1, 2 to 4 -> 4, 5 and more -> 16."""
    splits = occupancy(shape, m)
    if splits == 1:
        return 1
    return 4 if splits <= 4 else 16


def flashinfer_buckets(shape: Shape, m: int) -> int:
    """SGLang 0.5.23 with FlashInfer's kernel: the largest of 1, 2, 4, 8, 16 that occupancy allows."""
    splits = occupancy(shape, m)
    return next(value for value in _FLASHINFER_VALUES if value <= splits)


POLICIES = {"occupancy": occupancy, "vllm-buckets": vllm_buckets, "flashinfer-buckets": flashinfer_buckets}
