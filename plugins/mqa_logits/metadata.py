"""``get_paged_mqa_logits_metadata``: the schedule of paged indexer logits, computed before them in each step.

SM90 and SM120 have one kernel per 32 requests of the batch: a server with batches of up to 1024 needs 32 kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kregistry import (
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    KernelType,
    Proof,
    RunDimension,
    Shape,
    Signature,
    Size,
    Value,
)
from kregistry_plugins.mqa_logits import forms
from kregistry_plugins.mqa_logits.paged_schedule import BLOCK_KV, INDICES, NEXT_N, check_pages, schedule

if TYPE_CHECKING:
    import torch

NUM_SMS = Size(
    "num_sms", "SMs that share the work: deep_gemm.get_num_sms()", "SMs", default=lambda target: target.num_sms
)
#: Longest context of the random inputs.
_LONGEST = 40_000


class GetPagedMqaLogitsMetadata(KernelType):
    """A schedule int32 [num_sms + 1, 2], in a tensor that DeepGEMM allocates. An empty batch has an empty schedule."""

    name = "get_paged_mqa_logits_metadata"
    summary = "schedule of paged indexer logits (DeepSeek sparse attention)"
    dimensions = (NEXT_N, BLOCK_KV, NUM_SMS, INDICES)
    run_dimension = RunDimension("batch_size", "requests of one decode step; with indices, their tokens", "rows")
    function_names = ("get_paged_mqa_logits_metadata",)
    signature = Signature("context_lens, block_kv, num_sms, indices=None")
    archs = forms.METADATA_ARCHS
    # Integers: a single wrong one exceeds the tolerance.
    proof = Proof(
        tolerance=1e-12,
        examples=(
            {"next_n": 1},
            {"next_n": 2, "num_sms": 32},
            {"next_n": 3},
            {"indices": True, "block_kv": 32},
        ),
    )

    def check(self, shape: Shape) -> None:
        check_pages(self.name, shape)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        # The kernel of SM90 reads past its shared memory if no request has a context.
        specs = {"context_lens": BufferSpec((max_m, shape.next_n), "int32", initial=1)}
        return {**specs, "indices": BufferSpec((max_m,), "int32", initial=0)} if shape.indices else specs

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        return 8 * (int(shape.num_sms) + 1)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        shape = buffers.shape
        return Call(
            (buffers.context_lens[:m], shape.block_kv, shape.num_sms),
            {"indices": buffers.indices[:m]} if shape.indices else {},
        )

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {
            "next_n": call.context_lens.shape[1],
            "block_kv": call.block_kv,
            "num_sms": call.num_sms,
            "indices": call.indices is not None,
        }

    def empty_result(self, call: Arguments) -> torch.Tensor:
        """DeepGEMM 0.1 launches a kernel for an empty batch, 0.2 asserts on sm120."""
        return call.context_lens.new_zeros((call.num_sms + 1, 2))

    def returned(self, value: torch.Tensor, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"schedule": value}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        fill_context_lens(buffers, m, generator, _LONGEST)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        shape = buffers.shape
        indices = buffers.indices[:m] if shape.indices else None
        return {"schedule": schedule(shape, shape.num_sms, buffers.context_lens[:m], indices)}


def fill_context_lens(buffers: Buffers, m: int, generator: torch.Generator, longest: int) -> None:
    """Fill in contexts of random length; each token sees one more token of its request than the previous one."""
    import torch

    shape, device = buffers.shape, generator.device
    if shape.indices:
        fill_requests(buffers, m, generator, longest)
        return
    lengths = torch.randint(min(4, longest), longest + 1, (m, 1), device=device, generator=generator)
    step = torch.arange(1 - shape.next_n, 1, device=device)
    buffers.context_lens[:m] = (lengths + step).clamp_min_(1)


def fill_requests(buffers: Buffers, m: int, generator: torch.Generator, longest: int) -> None:
    """The same for requests of a few tokens, one token per row; ``indices`` holds the request of each row."""
    import torch

    device = generator.device
    row = torch.arange(m, device=device)
    lengths = torch.randint(min(4, longest), longest + 1, (m,), device=device, generator=generator)
    steps = torch.randint(0, 2, (m,), device=device, generator=generator)
    request = torch.maximum(steps.cumsum(0), row.div(3, rounding_mode="floor"))
    first = torch.searchsorted(request, request)  # row of the first token of the request
    buffers.indices[:m] = request
    buffers.context_lens[:m, 0] = (lengths[first] - 3 + (row - first)).clamp_(1, longest)
