"""``fp8_fp4_mqa_logits`` with a schedule: indexer logits of a prefill that share long rows between SMs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import evolve

from kregistry import Buffers, BufferSpec, Shape
from kregistry_plugins.mqa_logits import operands
from kregistry_plugins.mqa_logits.contiguous import LOGITS, SEQ_LEN_KV
from kregistry_plugins.mqa_logits.contiguous_mixed import MixedMqaLogits
from kregistry_plugins.mqa_logits.contiguous_schedule import ARCHS, schedule_of, words
from kregistry_plugins.mqa_logits.dtypes import LOGITS_DTYPE, OPERANDS, WEIGHTS_DTYPE

if TYPE_CHECKING:
    import torch


class ScheduledMqaLogits(MixedMqaLogits):
    """Logits by a schedule of ``get_mqa_logits_metadata``: kernels of their own, which share long rows between SMs."""

    name = "scheduled_mqa_logits"
    summary = "indexer logits of a prefill by a schedule, FP8, FP4 or MXFP8 (DeepGEMM 0.2, SM100)"
    forms = ("fp8", "fp4", "mxfp8")
    scheduled = True
    dimensions = (
        operands.NUM_HEADS,
        operands.HEAD_DIM,
        evolve(OPERANDS, meaning=f"{OPERANDS.meaning}; mxfp8 is fp8 with those", choices=forms),
        WEIGHTS_DTYPE,
        LOGITS_DTYPE,
        LOGITS,
        SEQ_LEN_KV,
    )
    archs = ARCHS
    proof = evolve(
        MixedMqaLogits.proof,
        examples=(
            {"num_heads": 64, "seq_len_kv": 601},
            {"num_heads": 32, "operands": "mxfp8", "logits": "clean", "seq_len_kv": 300},
            {"num_heads": 8, "operands": "fp4", "logits": "compressed", "seq_len_kv": 515},
        ),
    )

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        # All zeros is a schedule without work.
        return {
            **super().buffers(shape, max_m),
            "schedule_meta": BufferSpec((words(shape, max_m),), "int32", initial=0),
        }

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        shape, ks, ke = buffers.shape, buffers.ks[:m], buffers.ke[:m]
        if ks.is_cuda:
            import deep_gemm

            schedule = deep_gemm.get_mqa_logits_metadata(ks, ke, shape.seq_len_kv, shape.num_heads)
        else:
            schedule = schedule_of(shape, ks, ke)
        buffers.schedule_meta[: words(shape, m)] = schedule
