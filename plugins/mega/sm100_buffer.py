"""The symmetric buffer of SM100's mega MoE: where its slots are, and its bytes.

Source: ``Workspace``, ``MegaMoESignals`` and ``MegaMoEBuffer`` (include/deep_gemm/layout/mega_moe.cuh), and the rule of
the ring in ``deep_gemm/mega/__init__.py`` (DeepGEMM 0.1). In 0.2 its size is up to host code that is not at hand: the
rings may be smaller than here (seen for many experts and few tokens), and the launch takes a buffer that is too large.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from kregistry import Shape
from kregistry_plugins import installed
from kregistry_plugins.fp8_gemm.scales import align
from kregistry_plugins.mega.symmetric_buffer import Slot, pool_tokens, tile_heights

_BARRIER_BYTES = 32
_BYTES_OF_A_TOKEN_SOURCE = 12
#: sizeof(MegaMoESignals) of DeepGEMM 0.2.
_SIGNAL_BYTES = 21140864
#: DeepGEMM 0.1 takes a step with at least this many tokens a rank for a prefill, and the ring holds all tokens.
_PREFILL_TOKENS = 6144
#: Ring tokens that DeepGEMM 0.1 allows for decode steps: 4224 tokens of 72 ranks for 6 experts.
_DECODE_RING_TOKENS = 1824768
#: Rows of scale factors in one page of their layout.
_SCALE_PAGE = 128


@frozen
class Elements:
    """What a token is made of.

    Attributes:
        dtype: what its columns are stored in.
        bits: of a column; with 4, two share an element of the dtype.
        scale_columns: columns that share a byte of scale factors; 0: there are none.
    """

    dtype: str
    bits: int
    scale_columns: int = 0

    def data_bytes(self, columns: int) -> int:
        return columns * self.bits // 8

    def stored(self, columns: int) -> int:
        """How many elements of the dtype hold ``columns`` columns."""
        return columns // 2 if self.bits == 4 else columns

    def scale_bytes(self, columns: int) -> int:
        return columns // self.scale_columns if self.scale_columns else 0


def input_slots(shape: Shape, elements: Elements) -> Mapping[str, Slot]:
    """What a rank writes before the launch: tokens, their scale factors if any, experts and weights."""
    rows, hidden, top_k = shape.max_tokens, shape.hidden, shape.top_k
    x = _workspace_bytes(shape)
    x_sf = x + rows * elements.data_bytes(hidden)
    topk_idx = x_sf + rows * elements.scale_bytes(hidden)
    slots = {
        "x": Slot(x, rows, elements.stored(hidden), elements.dtype),
        "topk_idx": Slot(topk_idx, rows, top_k, "int64"),
        "topk_weights": Slot(topk_idx + rows * top_k * 8, rows, top_k, "float32"),
    }
    if elements.scale_columns:
        slots["x_sf"] = Slot(x_sf, rows, elements.scale_bytes(hidden) // 4, "int32")
    return slots


def buffer_bytes(shape: Shape, elements: Elements) -> int:
    """Bytes of the whole buffer: workspace, input slots, the rings of both layers, and the outputs to combine."""
    rows, hidden, intermediate = shape.max_tokens, shape.hidden, shape.intermediate
    inputs = input_slots(shape, elements)["topk_weights"].offset + rows * shape.top_k * 4
    ring = ring_tokens(shape)
    scales = max(ring // height * align(height, _SCALE_PAGE) for height in tile_heights())
    layers = sum(ring * elements.data_bytes(n) + scales * elements.scale_bytes(n) for n in (hidden, intermediate))
    return inputs + layers + ring * 4 + shape.top_k * rows * hidden * 2 + _outer_scale_bytes(shape)


def outer_scale_slot(shape: Shape, elements: Elements) -> Slot:
    """A scale factor of each token as a whole, an input of NVFP4: where the ring is as large as it can be."""
    return Slot(buffer_bytes(shape, elements) - _outer_scale_bytes(shape), shape.max_tokens, 1, "float32")


def ring_tokens(shape: Shape) -> int:
    """Tokens that a ring holds: as ``get_symm_buffer_for_mega_moe`` chooses in 0.1; in 0.2 an upper bound."""
    if not installed.is_first_series():
        return pool_tokens(shape)
    experts = shape.num_experts // shape.num_ranks
    received = shape.num_ranks * shape.max_tokens
    copies = received * min(shape.top_k, experts)
    most = min(copies + experts * 384, experts * received)
    wanted = pool_tokens(shape) if shape.max_tokens >= _PREFILL_TOKENS else _DECODE_RING_TOKENS
    return min(max(wanted, received), most)


def _outer_scale_bytes(shape: Shape) -> int:
    """Of the tokens of this rank, then of those in the ring; since DeepGEMM 0.2."""
    return 0 if installed.is_first_series() else 4 * (shape.max_tokens + ring_tokens(shape))


def _workspace_bytes(shape: Shape) -> int:
    experts, sources = shape.num_experts // shape.num_ranks, pool_tokens(shape) * _BYTES_OF_A_TOKEN_SOURCE
    if not installed.is_first_series():
        norms = shape.max_tokens * shape.top_k * 4
        return align(_SIGNAL_BYTES + shape.num_experts * shape.max_tokens * 4 + sources + norms, 16)
    counts = shape.num_experts * 16 + experts * 8
    signals = 4 * 4 * (ring_tokens(shape) // min(tile_heights()))
    tokens = experts * shape.num_ranks**2 * shape.max_tokens * 4
    return align(_BARRIER_BYTES + counts + signals + tokens + sources, 16)
