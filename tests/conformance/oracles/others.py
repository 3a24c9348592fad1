"""Einsums, the pre-norm of hyper-connections, logits of the indexer, and layouts of scale factors."""

from __future__ import annotations

from typing import Any

import torch

from .numbers import real, to_fp8, write_packed


def einsum(expression: str, x: Any, y: Any, z: torch.Tensor, c: torch.Tensor | None = None, **_: Any) -> None:
    z.copy_(torch.einsum(expression, x.double(), y.double()) + (0 if c is None else c.double()))


def fp8_einsum(
    expression: str,
    x: Any,
    y: Any,
    z: Any,
    c: torch.Tensor | None = None,
    recipe: tuple[int, int, int] = (1, 128, 128),
    **_: Any,
) -> None:
    """The scale factors of a gradient are for blocks of tokens, the first dimension; else of summed columns.

    An output that is quantised is rounded to BF16 before.
    """
    block = recipe[-1]
    if expression == "bhd,bhr->hdr":
        left, right = (real((each[0].transpose(0, -1), each[1].transpose(0, -1)), block) for each in (x, y))
        product = torch.einsum("dhb,rhb->hdr", left, right)
    else:
        weights = real((y[0].mT, y[1].mT), block).mT if expression == "bhd,hdr->bhr" else real(y, block)
        product = torch.einsum(expression, real(x, block), weights)
    if isinstance(z, torch.Tensor):
        z.copy_(product + (0 if c is None else c.double()))
        return
    data, scales = to_fp8(product.to(torch.bfloat16).double().flatten(1), 32)
    z[0].copy_(data.view(z[0].shape))
    write_packed(scales, z[1])


def hc_prenorm(
    a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, squares: torch.Tensor, num_splits: Any = None
) -> None:
    """The parts are added up by the caller: all of it is in the first."""
    product, sums = a.double() @ b.double().T, a.double().square().sum(1)
    if num_splits is None:
        d.copy_(product)
        squares.copy_(sums)
        return
    d.zero_()[0] = product.to(d.dtype)
    squares.zero_()[0] = sums.to(squares.dtype)


def mqa_logits(
    q: Any,
    kv: Any,
    weights: torch.Tensor,
    starts: torch.Tensor,
    ends: torch.Tensor,
    clean_logits: bool = True,
    logits_dtype: torch.dtype = torch.float32,
    max_seqlen_k: int = 0,
    **_: Any,
) -> torch.Tensor:
    """logits[i, j] = sum over heads of relu(q[i, h] . k[j]) * weights[i, h], for starts[i] <= j < ends[i]."""
    queries = _queries(q)
    keys = _scaled_rows(*kv)
    logits = (torch.einsum("mhd,nd->mhn", queries, keys).relu() * weights.double()[..., None]).sum(1)
    columns = torch.arange(len(keys))
    inside = (columns >= starts[:, None]) & (columns < ends[:, None])
    if not max_seqlen_k:
        return logits.masked_fill(~inside, float("-inf") if clean_logits else 0.0).to(logits_dtype)
    moved = torch.zeros((len(logits), max_seqlen_k), dtype=logits_dtype)
    for row, (start, end) in enumerate(zip(starts.tolist(), ends.tolist())):
        moved[row, : end - start] = logits[row, start:end].to(logits_dtype)
    return moved


def _queries(q: torch.Tensor | tuple[torch.Tensor, torch.Tensor | None]) -> torch.Tensor:
    data, scales = q if isinstance(q, tuple) else (q, None)
    return real(data) if scales is None else _scaled_rows(data, scales)


def _scaled_rows(data: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """[rows, columns], with an FP32 scale factor for each row, or the exponents of four blocks of it."""
    if scales.dtype == torch.int32:
        return real((data, scales[..., None]), 32)
    return data.double() * scales.double()[..., None]


def paged_mqa_logits(
    q: Any,
    cache: torch.Tensor,
    weights: torch.Tensor,
    lengths: torch.Tensor,
    pages: torch.Tensor,
    schedule: torch.Tensor,
    columns: int,
    clean_logits: bool = False,
    logits_dtype: torch.dtype = torch.float32,
    **_: Any,
) -> torch.Tensor:
    """As above, with the keys of a page table. A page holds its keys, then their scale factors."""
    data, scales = q if isinstance(q, tuple) else (q, None)
    batch, steps, heads, dim = data.shape
    queries = _queries(q).view(batch * steps, heads, -1)
    count, size = cache.shape[:2]
    flat = cache.reshape(count, -1)
    keys = flat[:, : size * dim].contiguous().view(data.dtype).view(count, size, dim)
    kind = torch.float32 if scales is None else torch.int32
    factors = flat[:, size * dim :].contiguous().view(kind).view(count, size)
    values = _scaled_rows(keys, factors)
    logits = torch.zeros((batch * steps, columns), dtype=logits_dtype)
    for row in range(batch * steps):
        length = int(lengths[row // steps, row % steps])
        positions = torch.arange(length)
        found = values[pages[row // steps, positions // size].long(), positions % size]
        dots = (queries[row] @ found.T).relu()
        logits[row, :length] = (weights[row].double() @ dots).to(logits_dtype)
    return logits


def sparse_mqa_logits(
    q: Any,
    kv: Any,
    weights: torch.Tensor,
    metadata: torch.Tensor,
    num_blocks: int,
    size: int,
    unaligned: bool = False,
    *,
    starts: torch.Tensor,
    ends: torch.Tensor,
    blocks: torch.Tensor,
) -> torch.Tensor:
    """The logits of the keys in the blocks of each token, counted from the first block boundary of its range.

    ``starts``, ``ends`` and ``blocks`` are what the metadata is made of.
    """
    queries, keys = _queries(q), _scaled_rows(*kv)
    found = torch.zeros((len(weights), num_blocks * size), dtype=torch.bfloat16)
    for token, (start, end) in enumerate(zip(starts.tolist(), ends.tolist())):
        for slot in range(min(num_blocks, -(-(end - start) // size))):
            first = int(blocks[token, slot]) * size + start % size
            seen = keys[first : min(first + size, end)]
            found[token, slot * size : slot * size + len(seen)] = _logits(queries[token], seen, weights[token])
    return found


def paged_sparse_mqa_logits(
    q: Any,
    cache: torch.Tensor,
    weights: torch.Tensor,
    metadata: torch.Tensor,
    num_blocks: int,
    size: int,
    *,
    lengths: torch.Tensor,
    pages: torch.Tensor,
    blocks: torch.Tensor,
) -> torch.Tensor:
    """The same, with the keys of a page table; a block never straddles two pages."""
    queries, width = _queries(q)[:, 0], q[0].shape[-1]
    count, page_size, _, row = cache.shape
    flat = cache.as_strided((count, page_size * row), (cache.stride(0), 1))
    data = flat[:, : page_size * width].contiguous().view(q[0].dtype).view(count, page_size, width)
    factors = flat[:, page_size * width :].contiguous().view(torch.int32)
    values = _scaled_rows(data, factors)
    found = torch.zeros((len(weights), num_blocks * size), dtype=torch.bfloat16)
    for token, length in enumerate(lengths.flatten().tolist()):
        for slot in range(min(num_blocks, -(-length // size))):
            first = int(blocks[token, slot]) * size
            page, offset = int(pages[token, first // page_size]), first % page_size
            keys = values[page, offset : offset + min(size, length - first)]
            found[token, slot * size : slot * size + len(keys)] = _logits(queries[token], keys, weights[token])
    return found


def _logits(query: torch.Tensor, keys: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Logits of one token: the sum over heads of weight * relu(query . key)."""
    return (weights.double() @ (query @ keys.T).relu()).to(torch.bfloat16)


def transposed(sf: torch.Tensor) -> torch.Tensor:
    """The same numbers, column by column, each column of a multiple of four rows."""
    return _by_columns(sf)


def packed(sf: torch.Tensor) -> torch.Tensor:
    """The exponents of powers of two, four columns to an int32, column by column."""
    bits = (sf.contiguous().view(torch.int32).long() >> 23) & 0xFF
    bits = torch.nn.functional.pad(bits, (0, -bits.shape[-1] % 4)).unflatten(-1, (-1, 4))
    words = (bits << torch.arange(0, 32, 8)).sum(-1)
    return _by_columns(torch.where(words >= 2**31, words - 2**32, words).to(torch.int32))


def required_layout(
    sf: torch.Tensor, rows: int, k: int, recipe: tuple[int, int], *, arch: str, disable_ue8m0_cast: bool = False
) -> torch.Tensor:
    """What the GEMMs of an arch want: FP32 on SM90, blocks as they are; elsewhere exponents of each row, packed."""
    if arch == "sm90" or disable_ue8m0_cast:
        return transposed(sf) if recipe[0] == 1 else sf
    return packed(sf.repeat_interleave(recipe[0], 0)[:rows])


def packed_by_groups(
    sf: torch.Tensor, layout: torch.Tensor, sizes: list[int], granularity: int, *_: Any, **others: Any
) -> torch.Tensor:
    """[rows, columns] -> the exponents of four rows of a group to an int32; a group begins a row of its own."""
    parts, begin = [], 0
    for size in sizes:
        rows = sf[begin : begin + size // granularity]
        begin += len(rows)
        parts += [packed(rows.T).T] if len(rows) else []
    return torch.cat(parts)


def _by_columns(values: torch.Tensor) -> torch.Tensor:
    rows = values.shape[-2]
    room = values.new_zeros((*values.shape[:-2], values.shape[-1], -(-rows // 4) * 4))
    room[..., :rows] = values.mT
    return room[..., :rows].mT
