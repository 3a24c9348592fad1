"""``fp8_fp4_mqa_logits`` with a schedule: indexer logits of a prefill, with long rows shared between SMs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import evolve

from kregistry import ArchSupport, Buffers, BufferSpec, Shape
from kregistry_plugins.mqa_logits import operands
from kregistry_plugins.mqa_logits.contiguous import LOGITS, SEQ_LEN_KV
from kregistry_plugins.mqa_logits.contiguous_mixed import MixedMqaLogits
from kregistry_plugins.mqa_logits.contiguous_schedule import ARCHS, schedule_elements, schedule_of
from kregistry_plugins.mqa_logits.dtypes import LOGITS_DTYPE, OPERANDS, WEIGHTS_DTYPE

if TYPE_CHECKING:
    import torch


class ScheduledMqaLogits(MixedMqaLogits):
    """Logits that follow a schedule of ``get_mqa_logits_metadata``; other kernels share long rows between SMs."""

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
    archs = (
        ARCHS[0],
        ArchSupport("sm100", ">=0.2,!=0.2.5", "DeepGEMM 0.1 has no such schedule; 0.2.5 has no clean_logits"),
        ARCHS[2],
    )
    proof = evolve(
        MixedMqaLogits.proof,
        examples=(
            {"num_heads": 64, "seq_len_kv": 601},
            {"num_heads": 32, "operands": "mxfp8", "logits": "clean", "seq_len_kv": 300},
            {"num_heads": 8, "operands": "fp4", "logits": "compressed", "seq_len_kv": 515},
        ),
    )

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        # A schedule of zeros has no work.
        return {
            **super().buffers(shape, max_m),
            "schedule_meta": BufferSpec((schedule_elements(shape, max_m),), "int32", initial=0, affects_results=False),
        }

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        shape, ks, ke = buffers.shape, buffers.ks[:m], buffers.ke[:m]
        if ks.is_cuda:
            import deep_gemm

            schedule = deep_gemm.get_mqa_logits_metadata(ks, ke, shape.seq_len_kv, shape.num_heads)
        else:
            schedule = schedule_of(shape, ks, ke)
        buffers.schedule_meta[: schedule_elements(shape, m)] = schedule
