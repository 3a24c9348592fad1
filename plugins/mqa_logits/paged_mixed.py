"""``fp8_fp4_paged_mqa_logits``: indexer logits of a decode step in every combination of dtypes.

With FP8 and FP32 it is ``fp8_paged_mqa_logits`` under another name, and uses the same kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import evolve

from kregistry import Arguments, Buffers, Call, Shape, Signature, Value
from kregistry_plugins.mqa_logits import operands
from kregistry_plugins.mqa_logits.dtypes import (
    LOGITS_DTYPE,
    MXFP8_ARCHS,
    OPERANDS,
    WEIGHTS_DTYPE,
    MixedDtypes,
)
from kregistry_plugins.mqa_logits.paged import MAX_CONTEXT_LEN, NUM_PAGES, PagedMqaLogits
from kregistry_plugins.mqa_logits.paged_schedule import BLOCK_KV, INDICES, NEXT_N

if TYPE_CHECKING:
    import torch

_DTYPES = (WEIGHTS_DTYPE, LOGITS_DTYPE)
_REST = (NEXT_N, BLOCK_KV, INDICES, MAX_CONTEXT_LEN, NUM_PAGES)
_BF16: Mapping[str, Value] = {"weights_dtype": "bfloat16", "logits_dtype": "bfloat16"}


class _MixedPagedMqaLogits(MixedDtypes, PagedMqaLogits):
    """Paged indexer logits with any dtypes; DeepGEMM allocates the result."""

    function_names = ("fp8_fp4_paged_mqa_logits",)
    signature = Signature(
        "q, kv_cache, weights, context_lens, block_table, schedule_meta, max_context_len, "
        "clean_logits=False, logits_dtype=None, indices=None"
    )
    proof = evolve(PagedMqaLogits.proof, tolerance=3e-5)  # the tolerance of DeepGEMM's own test with BF16

    def check(self, shape: Shape) -> None:
        super().check(shape)
        self.check_dtypes(shape)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        import torch

        shape = buffers.shape
        keywords = {"logits_dtype": getattr(torch, shape.logits_dtype)}
        if shape.indices:
            keywords["indices"] = buffers.indices[:m]
        return Call((operands.queries_of(buffers, m), *self.common_arguments(buffers, m)), keywords)

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {**self.read_dtypes(call), **self.read_requests(call)}

    def empty_result(self, call: Arguments) -> torch.Tensor:
        return self.empty_logits(call, call.logits_dtype)


class Fp8Fp4PagedMqaLogits(_MixedPagedMqaLogits):
    """The indexer of vLLM in a decode step."""

    name = "fp8_fp4_paged_mqa_logits"
    summary = "indexer logits of a decode step, FP8 or FP4, FP32 or BF16 weights and logits, paged cache"
    forms = ("fp8", "fp4")
    dimensions = (operands.NUM_HEADS, operands.HEAD_DIM, OPERANDS, *_DTYPES, *_REST)
    proof = evolve(
        _MixedPagedMqaLogits.proof,
        examples=(
            {"num_heads": 32, "max_context_len": 700, "num_pages": 40},
            {"num_heads": 32, "next_n": 2, "logits_dtype": "bfloat16", "max_context_len": 300, "num_pages": 7},
            {"num_heads": 8, "operands": "fp4", "next_n": 3, "block_kv": 32, "max_context_len": 300, "num_pages": 20},
            {"num_heads": 16, "operands": "fp4", **_BF16, "indices": True, "max_context_len": 300, "num_pages": 20},
        ),
    )


class Mxfp8PagedMqaLogits(_MixedPagedMqaLogits):
    """Queries and keys quantised to FP8 with a power of two for each 32 columns."""

    name = "mxfp8_paged_mqa_logits"
    summary = "indexer logits of a decode step, MXFP8 (DeepGEMM 0.2, SM100), paged cache"
    forms = ("mxfp8",)
    dimensions = (operands.NUM_HEADS, operands.HEAD_DIM, *_DTYPES, *_REST)
    archs = MXFP8_ARCHS
    proof = evolve(
        _MixedPagedMqaLogits.proof,
        examples=(
            {"num_heads": 32, "max_context_len": 700, "num_pages": 40},
            {"num_heads": 8, **_BF16, "indices": True, "block_kv": 128, "max_context_len": 300, "num_pages": 7},
        ),
    )
