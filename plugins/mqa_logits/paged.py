"""``fp8_paged_mqa_logits``: indexer logits of a decode step, over a paged cache.

Each query token sees the first ``context_lens`` tokens of its request. A row of the block table names their pages. The
kernel follows a schedule of ``get_paged_mqa_logits_metadata`` for the same context lengths.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from kregistry import (
    NUM_SMS,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    KernelType,
    Proof,
    RunDimension,
    Shape,
    ShapeError,
    Signature,
    Size,
    Value,
)
from kregistry_plugins import calls, installed
from kregistry_plugins.fp8_gemm.scales import ceil_div
from kregistry_plugins.mqa_logits import forms, operands
from kregistry_plugins.mqa_logits.metadata import fill_context_lens
from kregistry_plugins.mqa_logits.operands import parts_of
from kregistry_plugins.mqa_logits.paged_schedule import BLOCK_KV, INDICES, NEXT_N, check_pages, schedule

if TYPE_CHECKING:
    import torch

MAX_CONTEXT_LEN = Size(
    "max_context_len",
    "columns of the result; affects buffer sizes only",
    "tokens",
    default=4096,
    affects_kernel=False,
)
NUM_PAGES = Size(
    "num_pages", "pages of the cache; affects buffer sizes only", "pages", default=64, affects_kernel=False
)


class PagedMqaLogits(KernelType):
    """Logits [batch_size * next_n, max_context_len], in a tensor that DeepGEMM allocates.

    An empty batch launches nothing: DeepGEMM would fail in the driver.
    """

    settings = (NUM_SMS,)
    run_dimension = RunDimension("batch_size", "requests of one decode step; with indices, their tokens", "rows")
    archs = forms.ARCHS
    proof = Proof(kernel_depends_on_m=False, stop=100)  # more splits than an H100 has SMs

    def check(self, shape: Shape) -> None:
        forms.check_heads(self.name, shape)
        check_pages(self.name, shape)
        if shape.target.arch == "sm90" and shape.next_n > 2 and installed.is_sglangs():
            hint = "4 needs DeepGEMM 2.8, as vLLM bundles it" if shape.next_n == 4 else ""
            raise ShapeError(self.name, "next_n", f"expected 1 or 2 on sm90, got {shape.next_n}", hint)
        if shape.target.arch == "sm90" and shape.next_n not in (1, 2, 4):
            raise ShapeError(self.name, "next_n", f"expected 1, 2 or 4 on sm90, got {shape.next_n}")

    def operands(self, shape: Shape) -> str:
        """The form of queries and keys; see operands.py."""
        return "fp8"

    def logits_dtype(self, shape: Shape) -> str:
        return "float32"

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        form, heads, head_dim, next_n = self.operands(shape), shape.num_heads, shape.head_dim, shape.next_n
        row = operands.columns(form, head_dim) + operands.SCALE_BYTES
        blocks = ceil_div(shape.max_context_len, shape.block_kv)
        specs = {
            **operands.queries(form, (max_m, next_n, heads), head_dim),
            "kv_cache": BufferSpec((shape.num_pages, shape.block_kv, 1, row), "uint8"),
            "weights": BufferSpec((max_m * next_n, heads), str(shape.get("weights_dtype", "float32"))),
            "context_lens": BufferSpec((max_m, next_n), "int32", initial=0),
            "block_table": BufferSpec((max_m, blocks), "int32", initial=0),
            # A schedule of zeros has no work.
            "schedule_meta": BufferSpec((shape.num_sms + 1, 2), "int32", initial=0, affects_results=False),
        }
        if shape.indices:  # tokens of one request have the same pages, so the results do not depend on it
            specs["indices"] = BufferSpec((max_m,), "int32", initial=0, affects_results=False)
        return specs

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        """The result."""
        return int(max_m * shape.next_n * forms.row_bytes(shape.max_context_len, self.logits_dtype(shape)))

    def read_requests(self, call: Arguments) -> Mapping[str, Value]:
        """The dimensions of a real call, from its cache and its requests."""
        calls.belongs(self.name, "clean_logits", call.clean_logits, (False,))
        return {
            "next_n": parts_of(call.q)[0].shape[1],
            "block_kv": call.kv_cache.shape[1],
            "indices": call.indices is not None,
            "max_context_len": call.max_context_len,
            "num_pages": call.kv_cache.shape[0],
        }

    def empty_logits(self, call: Arguments, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Logits of an empty batch."""
        import torch

        return parts_of(call.q)[0].new_empty((0, call.max_context_len), dtype=dtype or torch.float32)

    def common_arguments(self, buffers: Buffers, m: int) -> tuple[Any, ...]:
        """The arguments after the queries, up to max_context_len."""
        return (
            buffers.kv_cache,
            buffers.weights[: m * buffers.shape.next_n],
            buffers.context_lens[:m],
            buffers.block_table[:m],
            buffers.schedule_meta,
            buffers.shape.max_context_len,
        )

    def returned(self, value: torch.Tensor, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """Logits with zeros past the end of each context, where they are undefined."""
        return {"logits": value.where(_inside(buffers, m), 0)}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        import torch

        shape = buffers.shape
        operands.fill(*operands.queries_of(buffers, m), generator)
        operands.fill(*operands.cached_keys(self.operands(shape), buffers.kv_cache, shape.head_dim), generator)
        buffers.weights[: m * shape.next_n].normal_(generator=generator)
        fill_context_lens(buffers, m, generator, shape.max_context_len)
        # Pages may be shared between requests, as prefixes are. Tokens of one request have the same pages.
        table, device = buffers.block_table[:m], generator.device
        table.copy_(torch.randint(0, shape.num_pages, table.shape, device=device, generator=generator))
        if shape.indices:
            index = buffers.indices[:m]
            table.copy_(table[torch.searchsorted(index, index)])
        buffers.schedule_meta.copy_(_schedule(buffers, m))

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        shape = buffers.shape
        queries = operands.values_of(*operands.queries_of(buffers, m))
        cached = operands.cached_keys(self.operands(shape), buffers.kv_cache, shape.head_dim)
        pages = operands.values_of(*cached)
        weights = buffers.weights[: m * shape.next_n].view(m, shape.next_n, shape.num_heads)
        keys = pages[buffers.block_table[:m].long()].flatten(1, 2)[:, : shape.max_context_len]
        logits = operands.scores(queries, keys, weights).flatten(0, 1)
        return {"logits": logits.where(_inside(buffers, m), 0)}


class Fp8PagedMqaLogits(PagedMqaLogits):
    """FP8 queries and keys, FP32 weights and logits: the indexer of DeepSeek-V3.2 in a decode step."""

    name = "fp8_paged_mqa_logits"
    summary = "indexer logits of a decode step (DeepSeek sparse attention), FP8, paged cache"
    dimensions = (operands.NUM_HEADS, operands.HEAD_DIM, NEXT_N, BLOCK_KV, INDICES, MAX_CONTEXT_LEN, NUM_PAGES)
    function_names = ("fp8_paged_mqa_logits",)
    signature = Signature(
        "q, kv_cache, weights, context_lens, block_table, schedule_meta, max_context_len, "
        "clean_logits=False, indices=None"
    )
    # The tolerance of DeepGEMM's own test.
    proof = evolve(
        PagedMqaLogits.proof,
        tolerance=5e-6,
        examples=(
            {"num_heads": 32, "max_context_len": 700, "num_pages": 40},
            {"num_heads": 64, "next_n": 2, "max_context_len": 300, "num_pages": 7},
            {"num_heads": 32, "head_dim": 64, "max_context_len": 300, "num_pages": 7},
            {"num_heads": 8, "next_n": 3, "block_kv": 32, "max_context_len": 300, "num_pages": 20},
            {"num_heads": 16, "head_dim": 64, "indices": True, "max_context_len": 300, "num_pages": 20},
        ),
    )

    def arguments(self, buffers: Buffers, m: int) -> Call:
        keywords = {"indices": buffers.indices[:m]} if buffers.shape.indices else {}
        return Call((buffers.q[:m], *self.common_arguments(buffers, m)), keywords)

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"num_heads": call.q.shape[2], "head_dim": call.q.shape[3], **self.read_requests(call)}

    def empty_result(self, call: Arguments) -> torch.Tensor:
        return self.empty_logits(call)


def _schedule(buffers: Buffers, m: int) -> torch.Tensor:
    """The schedule for the context lengths of the buffers; on a GPU, DeepGEMM computes it."""
    shape, context_lens = buffers.shape, buffers.context_lens[:m]
    indices, num_sms = buffers.indices[:m] if shape.indices else None, shape.num_sms
    if not context_lens.is_cuda:
        return schedule(shape, num_sms, context_lens, indices)
    import deep_gemm

    found: torch.Tensor = deep_gemm.get_paged_mqa_logits_metadata(context_lens, shape.block_kv, num_sms, indices)
    return found


def _inside(buffers: Buffers, m: int) -> torch.Tensor:
    """Mask bool [m * next_n, max_context_len] of the defined elements of the result."""
    import torch

    columns = torch.arange(buffers.shape.max_context_len, device=buffers.context_lens.device)
    return columns < buffers.context_lens[:m].reshape(-1, 1)
