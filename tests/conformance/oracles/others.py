"""Einsums, the pre-norm of hyper-connections, logits of the indexer, and layouts of scale factors."""

from __future__ import annotations

from typing import Any

import torch

from .numbers import real


def einsum(expression: str, x: Any, y: Any, z: torch.Tensor, c: torch.Tensor | None = None, **_: Any) -> None:
    z.copy_(torch.einsum(expression, x.double(), y.double()) + (0 if c is None else c.double()))


def fp8_einsum(
    expression: str,
    x: Any,
    y: Any,
    z: torch.Tensor,
    c: torch.Tensor | None = None,
    recipe: tuple[int, int, int] = (1, 128, 128),
    **_: Any,
) -> None:
    """The scale factors of a gradient are for blocks of tokens, the first dimension; else of summed columns."""
    block = recipe[-1]
    if expression == "bhd,bhr->hdr":
        left, right = (real((each[0].transpose(0, -1), each[1].transpose(0, -1)), block) for each in (x, y))
        product = torch.einsum("dhb,rhb->hdr", left, right)
    else:
        weights = real((y[0].mT, y[1].mT), block).mT if expression == "bhd,hdr->bhr" else real(y, block)
        product = torch.einsum(expression, real(x, block), weights)
    z.copy_(product + (0 if c is None else c.double()))


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


def transposed(sf: torch.Tensor) -> torch.Tensor:
    """The same numbers, column by column, each column of a multiple of four rows."""
    return _by_columns(sf)


def packed(sf: torch.Tensor) -> torch.Tensor:
    """The exponents of powers of two, four columns to an int32, column by column."""
    bits = (sf.contiguous().view(torch.int32).long() >> 23) & 0xFF
    bits = torch.nn.functional.pad(bits, (0, -bits.shape[-1] % 4)).unflatten(-1, (-1, 4))
    words = (bits << torch.arange(0, 32, 8)).sum(-1)
    return _by_columns(torch.where(words >= 2**31, words - 2**32, words).to(torch.int32))


def _by_columns(values: torch.Tensor) -> torch.Tensor:
    rows = values.shape[-2]
    room = values.new_zeros((*values.shape[:-2], values.shape[-1], -(-rows // 4) * 4))
    room[..., :rows] = values.mT
    return room[..., :rows].mT
