"""The schedules of DeepGEMM's metadata kernels in plain torch: each SM gets one part of the paged indexer logits.

A schedule is int32 [num_sms + 1, 2]: SM i computes from entry i up to entry i + 1. The unit of work is a split of 256
tokens of one request's context. Source: ``scheduler/sm90_paged_mqa_logits.cuh`` and ``sm100_paged_mqa_logits.cuh`` of
DeepGEMM 0.1.4; those of 0.2.3 compute the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kregistry import Choice, Flag, Shape, ShapeError, Size

if TYPE_CHECKING:
    import torch

NEXT_N = Size("next_n", "query tokens of one request: 1, or more with speculative decoding", "tokens", default=1)
BLOCK_KV = Choice(
    "block_kv",
    "tokens of one page of the cache; 64 except on sm100",
    (32, 64, 128),
    unit="tokens",
    default=64,
    needs={128: ">=0.2"},
)
INDICES = Flag(
    "indices", "rows that follow each other with the same index are one request (sm100, next_n 1)", default=False
)
_SPLIT_KV = 256


def check_pages(kernel_type: str, shape: Shape) -> None:
    """Refuse what DeepGEMM asserts against (attention.hpp)."""
    arch = shape.target.arch
    if shape.block_kv != 64 and arch != "sm100":
        raise ShapeError(kernel_type, "block_kv", f"expected 64 on {arch}, got {shape.block_kv}")
    if shape.indices and arch != "sm100":
        raise ShapeError(kernel_type, "indices", f"true is refused on {arch}", "say false")
    if shape.indices and shape.next_n != 1:
        raise ShapeError(kernel_type, "indices", f"true needs next_n 1, got {shape.next_n}")


def schedule(shape: Shape, num_sms: int, context_lens: torch.Tensor, indices: torch.Tensor | None) -> torch.Tensor:
    """The schedule int32 [num_sms + 1, 2] of one step: context_lens [batch, next_n], indices [batch] or none."""
    if shape.target.arch == "sm100":
        return _by_tokens(num_sms, context_lens, indices)
    return _by_pairs(num_sms, context_lens)


def _by_pairs(num_sms: int, context_lens: torch.Tensor) -> torch.Tensor:
    """SM90 and SM120: entries are (pair of query tokens, split). The last SMs get one split more than the first."""
    import torch

    batch, next_n = context_lens.shape
    pairs = -(-next_n // 2) if next_n > 1 else 1
    splits = _splits(context_lens[:, -1])
    done = splits.cumsum(0)  # splits of all requests up to and including each
    each, more = divmod(int(done[-1]) * pairs, num_sms)
    sm = torch.arange(num_sms, device=context_lens.device)
    start = sm * each + (sm - (num_sms - more)).clamp_min_(0)
    request = torch.searchsorted(done * pairs, start, right=True)
    offset = start - (done - splits)[request] * pairs
    pair = offset.div(splits[request], rounding_mode="floor")
    entries = torch.stack([request * pairs + pair, offset % splits[request]], 1)
    return torch.cat([entries, entries.new_tensor([[batch * pairs, 0]])]).int()


def _by_tokens(num_sms: int, context_lens: torch.Tensor, indices: torch.Tensor | None) -> torch.Tensor:
    """SM100: entries are (first query token of a request, split). The first SMs get one unit more than the last."""
    import torch

    batch, next_n = context_lens.shape
    if indices is None:
        tokens = torch.full((batch,), next_n, device=context_lens.device)
    else:
        tokens = indices.unique_consecutive(return_counts=True)[1]
    stop = tokens.cumsum(0)  # one past the last query token of each request
    work = _splits(context_lens.flatten()[stop - 1]) * tokens
    done = work.cumsum(0)
    each, more = divmod(int(done[-1]), num_sms)
    sm = torch.arange(num_sms + 1, device=context_lens.device)
    start = sm * each + sm.clamp_max(more)
    request = torch.searchsorted(done, start, right=True)
    inside = request < len(done)
    request = request.clamp_max_(len(done) - 1)
    split = (start - (done - work)[request]).div(tokens[request], rounding_mode="floor")
    entries = torch.stack([(stop - tokens)[request], split], 1)
    return entries.where(inside[:, None], entries.new_tensor([batch * next_n, 0])).int()


def _splits(context_lens: torch.Tensor) -> torch.Tensor:
    return (context_lens.long() + _SPLIT_KV - 1).div(_SPLIT_KV, rounding_mode="floor")
