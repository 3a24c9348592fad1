"""``get_paged_sparse_mqa_logits_metadata`` and ``fp8_fp4_paged_sparse_mqa_logits``: sparse indexer logits of a decode
step. Rows that follow each other with the same index are the query tokens of one request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

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
from kregistry_plugins.fp8_gemm.scales import align
from kregistry_plugins.mqa_logits import operands, sparse_blocks
from kregistry_plugins.mqa_logits.metadata import fill_requests
from kregistry_plugins.mqa_logits.paged import NUM_PAGES

if TYPE_CHECKING:
    import torch

PAGE_KV = Size(
    "page_kv", "tokens of one page of the cache, whole blocks", "tokens", default=64, minimum=8, multiple_of=8
)
ROW_PAGES = Size(
    "row_pages",
    "columns of the block table; affects buffer sizes only",
    "pages",
    default=64,
    affects_kernel=False,
)
#: Columns of the block table in calls of the logits, which do not read it.
_MOST_ROW_PAGES = 16
#: Pages of the cache in tests of a schedule.
_PAGES = 100_000
#: Pages of the cache start at multiples of this many bytes.
_PAGE_BYTES = 512


class _PagedSparse(KernelType):
    """Base of the metadata and the logits: requests, their pages and their blocks."""

    settings = (NUM_SMS,)
    run_dimension = RunDimension("batch_size", "query tokens of one decode step", "rows")
    archs = sparse_blocks.ARCHS
    proof = Proof(kernel_depends_on_m=False)

    def check(self, shape: Shape) -> None:
        sparse_blocks.check_blocks(self.name, shape)
        if shape.page_kv % shape.sparse_block_kv:
            text = f"expected a multiple of sparse_block_kv, {shape.sparse_block_kv}, got {shape.page_kv}"
            raise ShapeError(self.name, "page_kv", text)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {
            "context_lens": BufferSpec((max_m, 1), "int32", initial=0),
            "block_table": BufferSpec((max_m, row_pages(shape)), "int32", initial=0),
            "indices": BufferSpec((max_m,), "int32", initial=0, affects_results=False),
            "blocks": BufferSpec((max_m, shape.num_sparse_blocks), "int32", initial=0),
        }


class GetPagedSparseMqaLogitsMetadata(_PagedSparse):
    """Splits of the blocks of keys that query tokens see, in a tensor that DeepGEMM allocates."""

    name = "get_paged_sparse_mqa_logits_metadata"
    summary = "splits of the sparse indexer logits of a decode step (DeepGEMM 0.2, SM100)"
    dimensions = (
        sparse_blocks.OPERANDS,
        sparse_blocks.NUM_BLOCKS,
        sparse_blocks.BLOCK_KV,
        PAGE_KV,
        ROW_PAGES,
    )
    function_names = ("get_paged_sparse_mqa_logits_metadata",)
    signature = Signature(
        "context_lens, block_table, indices, page_kv, sparse_kv_block_indices, qk_dtype, sparse_block_kv"
    )
    # Integers: a single wrong one exceeds the tolerance.
    proof = evolve(
        _PagedSparse.proof,
        tolerance=1e-12,
        examples=(
            {"num_sparse_blocks": 12, "row_pages": 5},
            {"num_sparse_blocks": 52, "operands": "mxfp8", "sparse_block_kv": 16, "page_kv": 48, "row_pages": 11},
        ),
    )

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        splits = sparse_blocks.most_splits(shape, max_m, paged=True)
        return sparse_blocks.metadata_bytes(shape, splits) + sparse_blocks.PROCESS_WORKSPACE

    def arguments(self, buffers: Buffers, m: int) -> Call:
        shape = buffers.shape
        requests = (buffers.context_lens[:m], buffers.block_table[:m], buffers.indices[:m], shape.page_kv)
        return Call((*requests, buffers.blocks[:m], sparse_blocks.qk_dtype(shape), shape.sparse_block_kv))

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {
            "operands": sparse_blocks.operands_of(call.qk_dtype),
            "num_sparse_blocks": call.sparse_kv_block_indices.shape[1],
            "sparse_block_kv": call.sparse_block_kv,
            "page_kv": call.page_kv,
            "row_pages": call.block_table.shape[1],
        }

    def empty_result(self, call: Arguments) -> torch.Tensor:
        """DeepGEMM asserts on an empty call; no later launch reads this result."""
        import torch

        return call.context_lens.new_empty(0, dtype=torch.uint8)

    def returned(self, value: torch.Tensor, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"blocks": sparse_blocks.blocks_read(buffers.shape, value, m)}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        fill_blocks(buffers, m, generator, _PAGES)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"blocks": _physical_blocks(buffers, m)}


class Fp8Fp4PagedSparseMqaLogits(_PagedSparse):
    """BF16 logits [batch_size, num_sparse_blocks * sparse_block_kv], in a tensor that DeepGEMM allocates."""

    name = "fp8_fp4_paged_sparse_mqa_logits"
    summary = "sparse indexer logits of a decode step, FP4 or MXFP8, 32 heads of 128 columns (DeepGEMM 0.2, SM100)"
    dimensions = (
        sparse_blocks.OPERANDS,
        evolve(sparse_blocks.NUM_BLOCKS, affects_kernel=False),
        sparse_blocks.BLOCK_KV,
        PAGE_KV,
        NUM_PAGES,
    )
    function_names = ("fp8_fp4_paged_sparse_mqa_logits",)
    signature = Signature("q, kv_cache, weights, metadata, num_max_sparse_blocks, sparse_block_kv")
    # The tolerance of the dense logits with BF16.
    proof = evolve(
        _PagedSparse.proof,
        tolerance=3e-5,
        examples=(
            {"num_sparse_blocks": 12, "num_pages": 9},
            {"num_sparse_blocks": 52, "operands": "mxfp8", "sparse_block_kv": 16, "page_kv": 48, "num_pages": 9},
        ),
    )

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        row = operands.columns(shape.operands, sparse_blocks.HEAD_DIM) + operands.SCALE_BYTES
        page, tokens = align(shape.page_kv * row, _PAGE_BYTES), shape.page_kv
        cache = BufferSpec(
            (shape.num_pages, tokens, 1, row), "uint8", strides=(page, row, row, 1), storage=shape.num_pages * page
        )
        metadata = sparse_blocks.metadata_bytes(shape, sparse_blocks.most_splits(shape, max_m, paged=True))
        return {
            **operands.queries(shape.operands, (max_m, 1, sparse_blocks.NUM_HEADS), sparse_blocks.HEAD_DIM),
            "kv_cache": cache,
            "weights": BufferSpec((max_m, sparse_blocks.NUM_HEADS), "bfloat16"),
            # Metadata of zeros has no work.
            "metadata": BufferSpec((metadata,), "uint8", initial=0, affects_results=False),
            # Inputs of the metadata kernel.
            **super().buffers(shape, max_m),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        """The result, in whole pairs of query tokens."""
        return (max_m + max_m % 2) * sparse_blocks.row_bytes(shape)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        shape = buffers.shape
        used = sparse_blocks.metadata_bytes(shape, sparse_blocks.most_splits(shape, m, paged=True))
        tensors = ((buffers.q[:m], buffers.q_sf[:m]), buffers.kv_cache, buffers.weights[:m], buffers.metadata[:used])
        return Call((*tensors, shape.num_sparse_blocks, shape.sparse_block_kv))

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {
            "operands": sparse_blocks.operands_of(call.q[0].dtype),
            "num_sparse_blocks": call.num_max_sparse_blocks,
            "sparse_block_kv": call.sparse_block_kv,
            "page_kv": call.kv_cache.shape[1],
            "num_pages": call.kv_cache.shape[0],
        }

    def empty_result(self, call: Arguments) -> torch.Tensor:
        """DeepGEMM asserts on an empty call."""
        return call.weights.new_empty((0, call.num_max_sparse_blocks * call.sparse_block_kv))

    def returned(self, value: torch.Tensor, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """Logits with zeros where they are undefined: past a token's context, and in blocks that it does not have."""
        return {"logits": value.where(_defined(buffers, m), 0)}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        shape = buffers.shape
        operands.fill(buffers.q[:m], buffers.q_sf[:m], generator)
        cached = operands.cached_keys(shape.operands, buffers.kv_cache, sparse_blocks.HEAD_DIM)
        operands.fill(*cached, generator)
        buffers.weights[:m].normal_(generator=generator)
        fill_blocks(buffers, m, generator, shape.num_pages)
        if buffers.indices.is_cuda:
            import deep_gemm

            call = GetPagedSparseMqaLogitsMetadata().arguments(buffers, m)
            metadata = deep_gemm.get_paged_sparse_mqa_logits_metadata(*call.args)
            buffers.metadata[: len(metadata)] = metadata

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        shape = buffers.shape
        queries = operands.values_of(buffers.q[:m], buffers.q_sf[:m]).squeeze(1)
        cached = operands.cached_keys(shape.operands, buffers.kv_cache, sparse_blocks.HEAD_DIM)
        keys = operands.values_of(*cached).flatten(0, 1)
        step = torch.arange(shape.sparse_block_kv, device=keys.device)
        key = _physical_blocks(buffers, m).clamp_min(0)[:, :, None] * shape.sparse_block_kv + step
        logits = sparse_blocks.logits_of(shape, queries, keys[key.flatten(1)], buffers.weights[:m])
        return {"logits": logits.where(_defined(buffers, m), 0)}


def row_pages(shape: Shape) -> int:
    """Number of columns of the block table."""
    return shape.row_pages if "row_pages" in shape else min(shape.num_pages, _MOST_ROW_PAGES)


def fill_blocks(buffers: Buffers, m: int, generator: torch.Generator, pages: int) -> None:
    """Fill in requests with random contexts and pages, and for each token ascending blocks of its context."""
    import torch

    shape, table = buffers.shape, buffers.block_table[:m]
    longest = row_pages(shape) * shape.page_kv
    fill_requests(buffers, m, generator, longest)
    table.copy_(torch.randint(0, pages, table.shape, device=generator.device, generator=generator))
    index = buffers.indices[:m]
    table.copy_(table[torch.searchsorted(index, index)])
    buffers.blocks[:m], _ = sparse_blocks.random_blocks(shape, buffers.context_lens[:m, 0], longest, generator)


def _counts(buffers: Buffers, m: int) -> torch.Tensor:
    """Number of blocks in the context of each token: [m, 1]."""
    block_kv = buffers.shape.sparse_block_kv
    return (buffers.context_lens[:m].long() + block_kv - 1).div(block_kv, rounding_mode="floor")


def _physical_blocks(buffers: Buffers, m: int) -> torch.Tensor:
    """The block of the cache for each slot of a token: [m, num_sparse_blocks], -1 for none."""
    import torch

    shape = buffers.shape
    blocks, of_a_page = buffers.blocks[:m].long(), shape.page_kv // shape.sparse_block_kv
    page = buffers.block_table[:m].long().gather(1, blocks.div(of_a_page, rounding_mode="floor"))
    slot = torch.arange(shape.num_sparse_blocks, device=blocks.device)
    return (page * of_a_page + blocks % of_a_page).masked_fill_(slot >= _counts(buffers, m), -1)


def _defined(buffers: Buffers, m: int) -> torch.Tensor:
    """Mask bool [m, columns] of the defined columns of the logits."""
    import torch

    shape = buffers.shape
    slot = torch.arange(shape.num_sparse_blocks, device=buffers.blocks.device)
    step = torch.arange(shape.sparse_block_kv, device=buffers.blocks.device)
    token = buffers.blocks[:m, :, None] * shape.sparse_block_kv + step
    there = (slot < _counts(buffers, m))[:, :, None]
    return (there & (token < buffers.context_lens[:m, :, None])).flatten(1)
