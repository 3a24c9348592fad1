"""``get_mqa_logits_metadata``: a schedule for the indexer logits of a prefill (DeepGEMM 0.2, SM100).

Without a schedule, an SM computes whole blocks of queries. The schedule is a flat int32 tensor. It holds for each SM a
start (block of queries, split) and a number of splits, then for each block its first key and its number of splits of
256 keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kregistry import (
    NUM_SMS,
    ArchSupport,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    KernelType,
    Proof,
    RunDimension,
    Shape,
    Signature,
    Value,
)
from kregistry_plugins.fp8_gemm.scales import ceil_div
from kregistry_plugins.mqa_logits import operands
from kregistry_plugins.mqa_logits.contiguous import BLOCK_HEADS, SEQ_LEN_KV, fill_ranges

if TYPE_CHECKING:
    import torch

ARCHS = (
    ArchSupport("sm90", "none", "DeepGEMM has this schedule on sm100 only"),
    ArchSupport("sm100", ">=0.2", "DeepGEMM 0.1 has no such schedule"),
    ArchSupport("sm120", "none", "DeepGEMM has this schedule on sm100 only"),
)
_SPLIT_KV = 256


def schedule_elements(shape: Shape, m: int) -> int:
    """Number of int32 elements of a schedule for ``m`` query tokens."""
    return _spans_start(shape) + 2 * ceil_div(m, BLOCK_HEADS // shape.num_heads)


def parts(shape: Shape, schedule: torch.Tensor) -> Mapping[str, torch.Tensor]:
    """Starts [num_sms, 2], counts [num_sms] and spans [blocks, 2] of a schedule, as views."""
    num_sms = shape.num_sms
    return {
        "starts": schedule[: 2 * num_sms].view(num_sms, 2),
        "counts": schedule[2 * num_sms : 3 * num_sms],
        "spans": schedule[_spans_start(shape) :].view(-1, 2),
    }


def schedule_of(shape: Shape, ks: torch.Tensor, ke: torch.Tensor) -> torch.Tensor:
    """The schedule of query tokens with key ranges [ks, ke), in plain torch.

    The cost of a block of queries is its number of splits plus one. SMs get equal shares of the cost. Source:
    ``scheduler/sm100_mqa_logits_metadata.cuh`` of DeepGEMM 0.2.3.
    """
    import torch

    num_sms, per_block = shape.num_sms, BLOCK_HEADS // shape.num_heads
    blocks = ceil_div(len(ks), per_block)
    # Missing tokens of the last block count as copies of the last token.
    token = torch.arange(blocks * per_block, device=ks.device).clamp_max_(len(ks) - 1).view(blocks, per_block)
    base = ks.long()[token].amin(1).div(4, rounding_mode="floor") * 4
    splits = (ke.long()[token].amax(1) - base + _SPLIT_KV - 1).div(_SPLIT_KV, rounding_mode="floor")
    price = splits + (splits > 0).long()
    work, cost = splits.cumsum(0), price.cumsum(0)
    each, more = divmod(int(cost[-1]), num_sms)
    sm = torch.arange(num_sms + 1, device=ks.device)
    target = sm * each + sm.clamp_max(more)
    block = torch.searchsorted(cost, target, right=True)
    past = block == blocks
    block = block.clamp_max_(blocks - 1)
    before = work[block] - splits[block]
    into = (target - (cost - price)[block] - 1).clamp_min_(0).minimum(splits[block] - 1)
    starts = torch.stack([block, into], 1).where(~past[:, None], block.new_tensor([blocks, 0]))
    reached = (before + into).where(~past, work[-1])
    schedule = ks.new_zeros(schedule_elements(shape, len(ks)))
    found = parts(shape, schedule)
    found["starts"].copy_(starts[:-1])
    found["counts"].copy_(reached.diff())
    found["spans"].copy_(torch.stack([base, splits], 1))
    return schedule


class GetMqaLogitsMetadata(KernelType):
    """A schedule, in a tensor that DeepGEMM allocates. It is empty if there are no queries or keys."""

    name = "get_mqa_logits_metadata"
    summary = "schedule of the indexer logits of a prefill (DeepGEMM 0.2, SM100)"
    dimensions = (operands.NUM_HEADS, SEQ_LEN_KV)
    settings = (NUM_SMS,)
    run_dimension = RunDimension("seq_len", "query tokens of one call", "tokens")
    function_names = ("get_mqa_logits_metadata",)
    signature = Signature("cu_seq_len_k_start, cu_seq_len_k_end, num_kv_tokens, num_heads")
    archs = ARCHS
    # Integers: a single wrong one exceeds the tolerance.
    proof = Proof(
        kernel_depends_on_m=False,
        tolerance=1e-12,
        examples=({"num_heads": 64, "seq_len_kv": 4001}, {"num_heads": 8, "seq_len_kv": 300}),
    )

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {"ks": BufferSpec((max_m,), "int32", initial=0), "ke": BufferSpec((max_m,), "int32", initial=1)}

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        return 4 * schedule_elements(shape, max_m)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        shape = buffers.shape
        return Call((buffers.ks[:m], buffers.ke[:m], shape.seq_len_kv, shape.num_heads))

    def read_m(
        self, cu_seq_len_k_start: torch.Tensor, cu_seq_len_k_end: torch.Tensor, num_kv_tokens: int, num_heads: int
    ) -> int:
        return cu_seq_len_k_start.shape[0] if num_kv_tokens else 0

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"num_heads": call.num_heads, "seq_len_kv": call.num_kv_tokens}

    def empty_result(self, call: Arguments) -> torch.Tensor:
        return call.cu_seq_len_k_start.new_empty(0)

    def returned(self, value: torch.Tensor, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return parts(buffers.shape, value)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        fill_ranges(buffers, m, generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        shape = buffers.shape
        return parts(shape, schedule_of(shape, buffers.ks[:m], buffers.ke[:m]))


def _spans_start(shape: Shape) -> int:
    return (3 * shape.num_sms + 1) // 2 * 2
