"""Queries and keys of the indexer: dtypes, bytes, random values and their inverse.

========  =======================================  =======================================
operands  queries [..., heads, dim]                keys [tokens, dim]
========  =======================================  =======================================
fp8       FP8; their scale is part of the weights  FP8, one FP32 scale for each token
fp4       FP4, two to an int8; one packed int32    FP4, two to an int8; one packed int32
mxfp8     FP8; one packed int32                    FP8; one packed int32
========  =======================================  =======================================

A packed int32 holds the exponents of up to four powers of two, one for each 32 columns, the first in the lowest byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kregistry import Buffers, BufferSpec, Choice
from kregistry_plugins.fp8_gemm import scales

if TYPE_CHECKING:
    import torch

#: Columns that share one of the packed powers of two.
_GROUP = 32
#: Bytes of the scale of one key, in any form.
SCALE_BYTES = 4

HEAD_DIM = Choice("head_dim", "columns of each query head and key", (32, 64, 128), unit="columns", default=128)
NUM_HEADS = Choice("num_heads", "query heads of the indexer", (8, 16, 32, 64), unit="heads", default=64)


def columns(operands: str, head_dim: int) -> int:
    """Elements of the data of one query head or key, which is also their number of bytes."""
    return head_dim // 2 if operands == "fp4" else head_dim


def queries(operands: str, size: tuple[int, ...], head_dim: int) -> Mapping[str, BufferSpec]:
    """The tensors of queries [*size, head_dim]; ``size`` ends with the heads."""
    data = BufferSpec((*size, columns(operands, head_dim)), _dtype(operands))
    return {"q": data} if operands == "fp8" else {"q": data, "q_sf": BufferSpec(size, "int32")}


def queries_of(buffers: Buffers, m: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The queries of a launch at ``m``, and their packed scale if they have one."""
    scale = buffers.tensors.get("q_sf")
    return buffers.q[:m], None if scale is None else scale[:m]


def parts_of(q: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Data and packed powers of two of the queries of a real call; DeepGEMM 0.2 also accepts data alone."""
    return (q[0], q[1]) if isinstance(q, (tuple, list)) else (q, None)


def keys(operands: str, tokens: int, head_dim: int) -> Mapping[str, BufferSpec]:
    """The tensors of keys [tokens, head_dim]."""
    return {
        "kv": BufferSpec((tokens, columns(operands, head_dim)), _dtype(operands)),
        "kv_sf": BufferSpec((tokens,), "float32" if operands == "fp8" else "int32"),
    }


def cached_keys(operands: str, cache: torch.Tensor, head_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Views of a cache [pages, block_kv, 1, bytes]: data [pages, block_kv, ...] and scales [pages, block_kv].

    A page holds the data of all its keys, and then their scales.
    """
    import torch

    pages, block_kv = cache.shape[:2]
    width = columns(operands, head_dim)
    flat = cache.as_strided((pages, block_kv * cache.shape[3]), (cache.stride(0), 1))  # pages may be padded
    data = flat[:, : block_kv * width].unflatten(1, (block_kv, width)).view(getattr(torch, _dtype(operands)))
    return data, flat[:, block_kv * width :].view(torch.float32 if operands == "fp8" else torch.int32)


def fill(data: torch.Tensor, scale: torch.Tensor | None, generator: torch.Generator) -> None:
    """Random queries or keys; the scale has one element for each row of ``data``."""
    import torch

    head_dim = data.shape[-1] * (2 if data.dtype == torch.int8 else 1)
    values = torch.randn((*data.shape[:-1], head_dim), device=generator.device, generator=generator)
    if scale is None:
        data.copy_(values.to(data.dtype))
    else:
        scales.quantize_rows(values, data, scale.unsqueeze(-1), _group(scale, head_dim))


def values_of(data: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
    """The float32 values [..., head_dim] of queries or keys."""
    import torch

    if scale is None:
        return data.float()
    head_dim = data.shape[-1] * (2 if data.dtype == torch.int8 else 1)
    return scales.dequantize(data, scale.unsqueeze(-1), _group(scale, head_dim))


def scores(queries_: torch.Tensor, keys_: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The logits of the indexer: the sum over heads of weight * relu(query . key).

    Queries [..., s, heads, dim], keys [..., t, dim], weights [..., s, heads] give logits [..., s, t].
    """
    products = (queries_.flatten(-3, -2) @ keys_.mT).relu_().unflatten(-2, queries_.shape[-3:-1])
    return (products * weights.float().unsqueeze(-1)).sum(-2)


def _dtype(operands: str) -> str:
    return "int8" if operands == "fp4" else "float8_e4m3fn"


def _group(scale: torch.Tensor, head_dim: int) -> int:
    import torch

    return head_dim if scale.dtype == torch.float32 else _GROUP
