"""Sparse indexer logits: each query token sees only some blocks of keys (DeepGEMM 0.2, SM100).

A metadata kernel merges the blocks of pairs of query tokens into splits, in an opaque uint8 tensor for the logits
kernel. Block lists are ascending. Source of the layout: ``layout/sparse_mqa_logits.cuh`` of DeepGEMM 0.2.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kregistry import ArchSupport, Choice, Flag, Shape, ShapeError, Size
from kregistry_plugins.fp8_gemm.scales import ceil_div
from kregistry_plugins.mqa_logits import operands

if TYPE_CHECKING:
    import torch

ARCHS = (
    ArchSupport("sm90", "none", "DeepGEMM has sparse indexer logits on sm100 only"),
    ArchSupport("sm100", ">=0.2", "DeepGEMM 0.1 has no sparse indexer logits"),
    ArchSupport("sm120", "none", "DeepGEMM has sparse indexer logits on sm100 only"),
)
#: The only values that the kernels support.
NUM_HEADS = 32
HEAD_DIM = 128

OPERANDS = Choice(
    "operands",
    "queries and keys: fp4 or mxfp8, with a power of two for each 32 columns",
    ("fp4", "mxfp8"),
    default="fp4",
)
NUM_BLOCKS = Size("num_sparse_blocks", "blocks that a query token sees, at most 4096", "blocks", multiple_of=4)
BLOCK_KV = Choice("sparse_block_kv", "keys of one block", (8, 16), unit="tokens", default=8)
UNALIGNED = Flag(
    "unaligned_ks",
    "blocks are counted from key ks % sparse_block_kv on; else ks is a multiple of sparse_block_kv",
    default=False,
)
_MOST_BLOCKS = 4096
#: Workspace that DeepGEMM allocates once in a process: 8 bytes for each of 2**20 query tokens, and three counters.
PROCESS_WORKSPACE = 8 * 2**20 + 384


def check_blocks(kernel_type: str, shape: Shape) -> None:
    """Refuse what DeepGEMM asserts against (sm100_sparse_mqa_logits.hpp)."""
    if shape.num_sparse_blocks > _MOST_BLOCKS:
        text = f"at most {_MOST_BLOCKS}, got {shape.num_sparse_blocks}"
        raise ShapeError(kernel_type, "num_sparse_blocks", text)


def qk_dtype(shape: Shape) -> torch.dtype:
    import torch

    return torch.int8 if shape.operands == "fp4" else torch.float8_e4m3fn


def operands_of(dtype: object) -> str:
    """The form in the manifest for the dtype of the data of real queries and keys."""
    return "fp4" if str(dtype) == "torch.int8" else "mxfp8"


def metadata_bytes(shape: Shape, num_splits: int) -> int:
    """Bytes of the metadata: a header, the splits, and an entry for each SM in each wave."""
    num_sms = shape.num_sms
    return 16 + num_splits * 4 * _split_words(shape) + ceil_div(num_splits, num_sms) * num_sms * 16


def most_splits(shape: Shape, tokens: int, paged: bool) -> int:
    """The splits for which DeepGEMM allocates: those of each pair of tokens, or of each token of a paged call."""
    blocks, of_one = shape.num_sparse_blocks, _blocks_of_a_split(shape)
    return tokens * ceil_div(blocks, of_one) if paged else ceil_div(tokens, 2) * ceil_div(2 * blocks, of_one)


def blocks_read(shape: Shape, metadata: torch.Tensor, tokens: int) -> torch.Tensor:
    """The physical block of each slot of a query token: int64 [tokens, num_sparse_blocks], -1 for none.

    Unlike the order of the splits, this is the same in every launch.
    """
    import torch

    words = metadata.view(torch.int32)
    count = int(words[0])
    size = _split_words(shape)
    splits = words[4 : 4 + count * size].view(count, size)
    infos = splits[:, 4:].unflatten(1, (-1, 2)).long()
    found = torch.full((tokens, shape.num_sparse_blocks), -1, device=metadata.device)
    for offset in range(2):
        slot = (infos[:, :, 1] >> (16 * offset)) & 0xFFFF
        there = slot != 0xFFFF
        token = (splits[:, :1].long() + offset).expand_as(slot)
        found[token[there], (slot + splits[:, 2 + offset, None].long())[there]] = infos[:, :, 0][there]
    return found


def random_blocks(
    shape: Shape, lengths: torch.Tensor, longest: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ascending blocks of ranges of ``lengths`` keys, and how many each token has; the rest of a row is zeros."""
    import torch

    wanted, there = shape.num_sparse_blocks, ceil_div(longest, shape.sparse_block_kv)
    blocks = (lengths.long() + shape.sparse_block_kv - 1).div(shape.sparse_block_kv, rounding_mode="floor")
    order = torch.rand((len(lengths), max(there, wanted)), device=generator.device, generator=generator)
    column = torch.arange(order.shape[1], device=generator.device)
    chosen = order.masked_fill_(column >= blocks[:, None], 2).argsort(1)[:, :wanted]
    chosen = chosen.masked_fill(chosen >= blocks[:, None], order.shape[1]).sort(1).values
    counts = blocks.clamp_max(wanted)
    return chosen.masked_fill_(column[:wanted] >= counts[:, None], 0), counts


def logits_of(shape: Shape, queries: torch.Tensor, keys: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Logits [tokens, columns] of queries [tokens, heads, dim] and each token's own keys [tokens, columns, dim]."""
    return operands.scores(queries.unsqueeze(1), keys, weights.unsqueeze(1)).squeeze(1)


def row_bytes(shape: Shape) -> int:
    """Bytes from one row of BF16 logits to the next."""
    return 2 * ceil_div(shape.num_sparse_blocks * shape.sparse_block_kv, 512) * 512


def _blocks_of_a_split(shape: Shape) -> int:
    return int((640 if shape.operands == "fp4" else 512) // shape.sparse_block_kv)


def _split_words(shape: Shape) -> int:
    return 4 + 2 * _blocks_of_a_split(shape)
