"""The symmetric buffer of SM90's mega MoE: where its slots are, and its bytes.

Source: ``SM90Workspace`` (include/deep_gemm/layout/mega_moe.cuh) and ``get_symm_buffer_size_for_sm90_mega_moe``
(csrc/apis/sm90_mega.hpp) of DeepGEMM. 0.1.4 and 0.2.3 differ in the heights of tiles only.
"""

from __future__ import annotations

from collections.abc import Mapping

from kregistry import Shape
from kregistry_plugins.fp8_gemm.scales import align
from kregistry_plugins.mega.symmetric_buffer import Slot, pool_tokens, tile_heights

_BARRIER_BYTES = 32
_BYTES_OF_A_TOKEN_SOURCE = 12


def input_slots(shape: Shape) -> Mapping[str, Slot]:
    """What a rank writes before the launch: tokens, their scale factors, experts and weights."""
    rows, hidden, top_k = shape.max_tokens, shape.hidden, shape.top_k
    x = _workspace_bytes(shape)
    x_sf = x + rows * hidden
    topk_idx = x_sf + rows * hidden // 32
    topk_weights = topk_idx + rows * top_k * 8
    return {
        "x": Slot(x, rows, hidden, "float8_e4m3fn"),
        "x_sf": Slot(x_sf, rows, hidden // 128, "float32"),
        "topk_idx": Slot(topk_idx, rows, top_k, "int64"),
        "topk_weights": Slot(topk_weights, rows, top_k, "float32"),
    }


def buffer_bytes(shape: Shape) -> int:
    """Bytes of the whole buffer: workspace, input slots, the pools of both layers, and the outputs to combine."""
    rows, hidden, intermediate = shape.max_tokens, shape.hidden, shape.intermediate
    inputs = input_slots(shape)["topk_weights"].offset + rows * shape.top_k * 4
    pool = pool_tokens(shape)
    scales = max(pool // height * align(height, 128) for height in tile_heights())
    first_layer = pool * hidden + scales * hidden // 32 + pool * 4
    second_layer = pool * intermediate + scales * intermediate // 16
    return inputs + first_layer + second_layer + shape.top_k * rows * hidden * 2


def _workspace_bytes(shape: Shape) -> int:
    experts = shape.num_experts // shape.num_ranks
    pool = pool_tokens(shape)
    blocks = pool // min(tile_heights())
    counts = shape.num_experts * 16 + experts * 8
    arrivals = align(blocks, 2) * 4 + blocks * 8
    sources = experts * shape.num_ranks**2 * shape.max_tokens * 4
    return align(_BARRIER_BYTES + counts + arrivals + sources + pool * _BYTES_OF_A_TOKEN_SOURCE, 16)
