"""``get_sparse_mqa_logits_metadata`` and ``fp8_fp4_sparse_mqa_logits``: sparse indexer logits of a prefill."""

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
    Signature,
    Value,
)
from kregistry_plugins.mqa_logits import operands, sparse_blocks
from kregistry_plugins.mqa_logits.contiguous import SEQ_LEN_KV, fill_ranges

if TYPE_CHECKING:
    import torch

_BLOCKS = (sparse_blocks.BLOCK_KV, sparse_blocks.UNALIGNED, SEQ_LEN_KV)


class GetSparseMqaLogitsMetadata(KernelType):
    """Splits of the blocks of keys that query tokens see, in a tensor that DeepGEMM allocates."""

    name = "get_sparse_mqa_logits_metadata"
    summary = "splits of the sparse indexer logits of a prefill (DeepGEMM 0.2, SM100)"
    dimensions = (sparse_blocks.OPERANDS, sparse_blocks.NUM_BLOCKS, *_BLOCKS)
    settings = (NUM_SMS,)
    run_dimension = RunDimension("seq_len", "query tokens of one call", "tokens")
    function_names = ("get_sparse_mqa_logits_metadata",)
    signature = Signature(
        "cu_seq_len_k_start, cu_seq_len_k_end, num_kv_tokens, sparse_kv_block_indices, qk_dtype, "
        "sparse_block_kv, use_unaligned_ks=False"
    )
    archs = sparse_blocks.ARCHS
    # Integers: a single wrong one exceeds the tolerance.
    proof = Proof(
        kernel_depends_on_m=False,
        tolerance=1e-12,
        examples=(
            {"num_sparse_blocks": 12, "seq_len_kv": 601},
            {
                "num_sparse_blocks": 52,
                "operands": "mxfp8",
                "sparse_block_kv": 16,
                "unaligned_ks": True,
                "seq_len_kv": 300,
            },
        ),
    )

    def check(self, shape: Shape) -> None:
        sparse_blocks.check_blocks(self.name, shape)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {
            "ks": BufferSpec((max_m,), "int32", initial=0),
            "ke": BufferSpec((max_m,), "int32", initial=0),
            "blocks": BufferSpec((max_m, shape.num_sparse_blocks), "int32", initial=0),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        splits = sparse_blocks.most_splits(shape, max_m, paged=False)
        return sparse_blocks.metadata_bytes(shape, splits) + sparse_blocks.PROCESS_WORKSPACE

    def arguments(self, buffers: Buffers, m: int) -> Call:
        shape = buffers.shape
        first = (buffers.ks[:m], buffers.ke[:m], shape.seq_len_kv, buffers.blocks[:m], sparse_blocks.qk_dtype(shape))
        return Call((*first, shape.sparse_block_kv, shape.unaligned_ks))

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {
            "operands": sparse_blocks.operands_of(call.qk_dtype),
            "num_sparse_blocks": call.sparse_kv_block_indices.shape[1],
            "sparse_block_kv": call.sparse_block_kv,
            "unaligned_ks": call.use_unaligned_ks,
            "seq_len_kv": call.num_kv_tokens,
        }

    def empty_result(self, call: Arguments) -> torch.Tensor:
        """DeepGEMM asserts on an empty call; no later launch reads this result."""
        import torch

        return call.cu_seq_len_k_start.new_empty(0, dtype=torch.uint8)

    def returned(self, value: torch.Tensor, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"blocks": sparse_blocks.blocks_read(buffers.shape, value, m)}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        fill_blocks(buffers, m, generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"blocks": _first_keys(buffers, m)}


class Fp8Fp4SparseMqaLogits(KernelType):
    """BF16 logits [seq_len, num_sparse_blocks * sparse_block_kv], in a tensor that DeepGEMM allocates."""

    name = "fp8_fp4_sparse_mqa_logits"
    summary = "sparse indexer logits of a prefill, FP4 or MXFP8, 32 heads of 128 columns (DeepGEMM 0.2, SM100)"
    dimensions = (sparse_blocks.OPERANDS, evolve(sparse_blocks.NUM_BLOCKS, affects_kernel=False), *_BLOCKS)
    settings = (NUM_SMS,)
    run_dimension = RunDimension("seq_len", "query tokens of one call", "tokens")
    function_names = ("fp8_fp4_sparse_mqa_logits",)
    signature = Signature("q, kv, weights, metadata, num_max_sparse_blocks, sparse_block_kv, use_unaligned_ks=False")
    archs = sparse_blocks.ARCHS
    # The tolerance of the dense logits with BF16.
    proof = Proof(kernel_depends_on_m=False, tolerance=3e-5, examples=GetSparseMqaLogitsMetadata.proof.examples)

    def check(self, shape: Shape) -> None:
        sparse_blocks.check_blocks(self.name, shape)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        metadata = sparse_blocks.metadata_bytes(shape, sparse_blocks.most_splits(shape, max_m, paged=False))
        return {
            **operands.queries(shape.operands, (max_m, sparse_blocks.NUM_HEADS), sparse_blocks.HEAD_DIM),
            **operands.keys(shape.operands, shape.seq_len_kv, sparse_blocks.HEAD_DIM),
            "weights": BufferSpec((max_m, sparse_blocks.NUM_HEADS), "bfloat16"),
            # Metadata of zeros has no work.
            "metadata": BufferSpec((metadata,), "uint8", initial=0, affects_results=False),
            # Inputs of the metadata kernel.
            "ks": BufferSpec((max_m,), "int32", initial=0),
            "ke": BufferSpec((max_m,), "int32", initial=0),
            "blocks": BufferSpec((max_m, shape.num_sparse_blocks), "int32", initial=0),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        """The result, in whole pairs of query tokens."""
        return (max_m + max_m % 2) * sparse_blocks.row_bytes(shape)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        shape = buffers.shape
        used = sparse_blocks.metadata_bytes(shape, sparse_blocks.most_splits(shape, m, paged=False))
        tensors = ((buffers.q[:m], buffers.q_sf[:m]), (buffers.kv, buffers.kv_sf), buffers.weights[:m])
        numbers = (shape.num_sparse_blocks, shape.sparse_block_kv, shape.unaligned_ks)
        return Call((*tensors, buffers.metadata[:used], *numbers))

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {
            "operands": sparse_blocks.operands_of(call.q[0].dtype),
            "num_sparse_blocks": call.num_max_sparse_blocks,
            "sparse_block_kv": call.sparse_block_kv,
            "unaligned_ks": call.use_unaligned_ks,
            "seq_len_kv": call.kv[0].shape[0],
        }

    def empty_result(self, call: Arguments) -> torch.Tensor:
        """DeepGEMM asserts on an empty call."""
        return call.weights.new_empty((0, call.num_max_sparse_blocks * call.sparse_block_kv))

    def returned(self, value: torch.Tensor, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """Logits with zeros where they are undefined: past the keys of a token, and in blocks that it does not have."""
        return {"logits": value.where(_keys_seen(buffers, m)[1], 0)}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        operands.fill(buffers.q[:m], buffers.q_sf[:m], generator)
        operands.fill(buffers.kv, buffers.kv_sf, generator)
        buffers.weights[:m].normal_(generator=generator)
        fill_blocks(buffers, m, generator)
        if buffers.ks.is_cuda:
            import deep_gemm

            call = GetSparseMqaLogitsMetadata().arguments(buffers, m)
            metadata = deep_gemm.get_sparse_mqa_logits_metadata(*call.args)
            buffers.metadata[: len(metadata)] = metadata

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        key, inside = _keys_seen(buffers, m)
        queries = operands.values_of(buffers.q[:m], buffers.q_sf[:m])
        keys = operands.values_of(buffers.kv, buffers.kv_sf)
        logits = sparse_blocks.logits_of(buffers.shape, queries, keys[key], buffers.weights[:m])
        return {"logits": logits.where(inside, 0)}


def fill_blocks(buffers: Buffers, m: int, generator: torch.Generator) -> None:
    """Fill in random key ranges, and for each token ascending blocks of its range."""
    shape, ks, ke = buffers.shape, buffers.ks[:m], buffers.ke[:m]
    fill_ranges(buffers, m, generator)
    block_kv = shape.sparse_block_kv
    if not shape.unaligned_ks:
        ks.copy_(ks.div(block_kv, rounding_mode="floor") * block_kv)
    chosen, counts = sparse_blocks.random_blocks(shape, ke - ks, shape.seq_len_kv, generator)
    first = ks[:, None].div(block_kv, rounding_mode="floor")
    buffers.blocks[:m] = (chosen + first).masked_fill_(_slots(shape, ks) >= counts[:, None], 0)


def _first_keys(buffers: Buffers, m: int) -> torch.Tensor:
    """The first key of each block of a token: [m, num_sparse_blocks], -1 for none."""
    shape, ks, ke = buffers.shape, buffers.ks[:m].long(), buffers.ke[:m].long()
    block_kv = shape.sparse_block_kv
    counts = (ke - ks + block_kv - 1).div(block_kv, rounding_mode="floor")
    first = buffers.blocks[:m].long() * block_kv + (ks % block_kv)[:, None]
    return first.masked_fill_(_slots(shape, ks) >= counts[:, None], -1)


def _keys_seen(buffers: Buffers, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The key of each column, and the mask of defined columns: [m, columns] each."""
    import torch

    shape, first = buffers.shape, _first_keys(buffers, m)
    step = torch.arange(shape.sparse_block_kv, device=first.device)
    key = (first[:, :, None] + step).flatten(1)
    there = (first >= 0).repeat_interleave(shape.sparse_block_kv, 1)
    return key.clamp(0, shape.seq_len_kv - 1), there & (key < buffers.ke[:m, None])


def _slots(shape: Shape, like: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.arange(shape.num_sparse_blocks, device=like.device)
