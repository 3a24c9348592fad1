"""``k_grouped_bf16_gemm_tn_contiguous``: weight gradients of BF16 experts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kregistry import ArchSupport, Buffers, BufferSpec, Call, Proof, Shape, Signature
from kregistry_plugins import compiled_dims
from kregistry_plugins.bf16_gemm.dense import TENSOR_CORES
from kregistry_plugins.contiguous_rows import GROUPS
from kregistry_plugins.k_grouped.base import (
    ACCUMULATE,
    OUTPUT,
    PSUM,
    KGroupedGemm,
    call_at,
    common_buffers,
    group_sizes,
    rows_dimension,
)

if TYPE_CHECKING:
    import torch


class KGroupedBf16GemmTnContiguous(KGroupedGemm):
    """a [k, m], b [k, n], d [num_groups, m, n]."""

    name = "k_grouped_bf16_gemm_tn_contiguous"
    summary = "k-grouped BF16 GEMM, accumulated (MoE weight gradients)"
    dimensions = (
        GROUPS,
        rows_dimension("m", 8),
        rows_dimension("n", 8),
        OUTPUT,
        ACCUMULATE,
        PSUM,
        compiled_dims.K_GROUPED,
    )
    settings = (*KGroupedGemm.settings, TENSOR_CORES)
    function_names = ("k_grouped_bf16_gemm_tn_contiguous",)
    signature = Signature("a, b, d, ks, grouped_layout, c=None, compiled_dims='mn', use_psum_layout=False")
    archs = (
        ArchSupport("sm90"),
        ArchSupport("sm100"),
        ArchSupport("sm120", "none", "DeepGEMM has no k-grouped BF16 GEMM for sm120 ('not yet ported', gemm.hpp)"),
    )
    proof = Proof(
        examples=(
            {"num_groups": 4, "m": 128, "n": 256},
            {"num_groups": 3, "m": 72, "n": 136, "output": "bfloat16"},
            {"num_groups": 1, "m": 64, "n": 64, "mk_alignment": 64},
            {"num_groups": 2, "m": 64, "n": 64, "use_psum_layout": True},
        )
    )

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        rows = sum(group_sizes(shape, max_m))
        return {
            "a": BufferSpec((rows, shape.m), "bfloat16"),
            "b": BufferSpec((rows, shape.n), "bfloat16"),
            **common_buffers(shape, shape.output, max_m),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        rows = sum(group_sizes(buffers.shape, m))
        keywords = {"use_psum_layout": True} if buffers.shape.use_psum_layout else {}
        return call_at(buffers, m, buffers.a[:rows], buffers.b[:rows], **keywords)

    def store(self, buffers: Buffers, name: str, rows: slice, values: torch.Tensor) -> None:
        buffers.tensors[name][rows] = values

    def load(self, buffers: Buffers, name: str, rows: slice) -> torch.Tensor:
        return buffers.tensors[name][rows].float()
