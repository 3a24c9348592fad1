"""``fp8_fp4_mqa_logits``: indexer logits of a prefill in every combination of dtypes.

With FP8 and FP32 it is ``fp8_mqa_logits`` under another name, and uses the same kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from attrs import evolve

from kregistry import Arguments, Buffers, Call, Shape, Signature, Value
from kregistry_plugins import calls
from kregistry_plugins.mqa_logits import operands
from kregistry_plugins.mqa_logits.contiguous import LOGITS, SEQ_LEN_KV, MqaLogits
from kregistry_plugins.mqa_logits.contiguous_schedule import schedule_elements
from kregistry_plugins.mqa_logits.dtypes import (
    LOGITS_DTYPE,
    MXFP8_ARCHS,
    OPERANDS,
    WEIGHTS_DTYPE,
    MixedDtypes,
)

if TYPE_CHECKING:
    import torch


class MixedMqaLogits(MixedDtypes, MqaLogits):
    """Indexer logits with any dtypes; DeepGEMM allocates the result."""

    function_names = ("fp8_fp4_mqa_logits",)
    signature = Signature(
        "q, kv, weights, cu_seq_len_k_start, cu_seq_len_k_end, clean_logits=False, max_seqlen_k=0, logits_dtype=None, "
        "schedule_meta=None"
    )
    proof = evolve(MqaLogits.proof, tolerance=3e-5)  # the tolerance of DeepGEMM's own test with BF16
    #: Whether calls have a schedule.
    scheduled: ClassVar[bool] = False

    def check(self, shape: Shape) -> None:
        super().check(shape)
        self.check_dtypes(shape)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        import torch

        shape = buffers.shape
        schedule = {"schedule_meta": buffers.schedule_meta[: schedule_elements(shape, m)]} if self.scheduled else {}
        return Call(
            (
                operands.queries_of(buffers, m),
                (buffers.kv, buffers.kv_sf),
                buffers.weights[:m],
                buffers.ks[:m],
                buffers.ke[:m],
            ),
            {
                "clean_logits": shape.logits == "clean",
                "max_seqlen_k": self.max_seqlen_k(shape),
                "logits_dtype": getattr(torch, shape.logits_dtype),
                **schedule,
            },
        )

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        calls.belongs(self.name, "a schedule", call.schedule_meta is not None, (self.scheduled,))
        return {**self.read_dtypes(call), **self.read_keys(call)}

    def empty_result(self, call: Arguments) -> torch.Tensor:
        return self.empty_logits(call, call.logits_dtype)


class Fp8Fp4MqaLogits(MixedMqaLogits):
    """The indexer of vLLM in a prefill."""

    name = "fp8_fp4_mqa_logits"
    summary = "indexer logits of a prefill (DeepSeek sparse attention), FP8 or FP4, FP32 or BF16 weights and logits"
    forms = ("fp8", "fp4")
    dimensions = (
        operands.NUM_HEADS,
        operands.HEAD_DIM,
        OPERANDS,
        WEIGHTS_DTYPE,
        LOGITS_DTYPE,
        LOGITS,
        SEQ_LEN_KV,
    )
    proof = evolve(
        MixedMqaLogits.proof,
        examples=(
            {"num_heads": 32, "seq_len_kv": 601},
            {"num_heads": 32, "logits_dtype": "bfloat16", "logits": "clean", "seq_len_kv": 300},
            {"num_heads": 8, "operands": "fp4", "seq_len_kv": 515},
            {
                "num_heads": 16,
                "head_dim": 64,
                "operands": "fp4",
                "weights_dtype": "bfloat16",
                "logits_dtype": "bfloat16",
                "logits": "compressed",
                "seq_len_kv": 300,
            },
        ),
    )


class Mxfp8MqaLogits(MixedMqaLogits):
    """Queries and keys quantised to FP8 with a power of two for each 32 columns."""

    name = "mxfp8_mqa_logits"
    summary = "indexer logits of a prefill (DeepSeek sparse attention), MXFP8 (DeepGEMM 0.2, SM100)"
    forms = ("mxfp8",)
    dimensions = (operands.NUM_HEADS, operands.HEAD_DIM, WEIGHTS_DTYPE, LOGITS_DTYPE, LOGITS, SEQ_LEN_KV)
    archs = MXFP8_ARCHS
    proof = evolve(
        MixedMqaLogits.proof,
        examples=(
            {"num_heads": 32, "seq_len_kv": 601},
            {
                "num_heads": 8,
                "head_dim": 64,
                "weights_dtype": "bfloat16",
                "logits_dtype": "bfloat16",
                "seq_len_kv": 300,
            },
            {"num_heads": 16, "logits": "compressed", "seq_len_kv": 300},
        ),
    )
