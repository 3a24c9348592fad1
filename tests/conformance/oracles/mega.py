"""Mega MoE, its pre-dispatch, its gate, and the update of hyper-connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .numbers import from_fp4, real, to_fp4, to_fp8, to_nvfp4, ue4m3, write_packed

#: Rows of gate and of up that take turns.
_TURN = 8


def experts(
    y: torch.Tensor,
    l1: Any,
    l2: Any,
    buffer: Any,
    *_: Any,
    slots: Mapping[str, torch.Tensor],
    activation_clamp: float | None = None,
    l1_alphas: torch.Tensor | None = None,
    l2_alphas: torch.Tensor | None = None,
    l2_act_scales: torch.Tensor | None = None,
    **others: Any,
) -> None:
    """y[t] = sum over the experts e of t: weight * down_e @ (silu(gate_e @ x[t]) * (up_e @ x[t])).

    Every expert sees every token, with weight zero where the token did not choose it. ``slots`` are the rows of the
    symmetric buffer that belong to the launch.
    """
    assert "shared_l1_weights" not in others
    x = _tokens(slots, buffer.mma_type)
    gates, ups = _first_layer(l1, buffer.mma_type)
    downs = _as_stored(l2, buffer.mma_type)
    weights = torch.zeros((len(x), int(buffer.num_experts)), dtype=torch.float64)
    weights.scatter_add_(1, slots["topk_idx"], slots["topk_weights"].double())
    total = torch.zeros(y.shape, dtype=torch.float64)
    for expert in range(len(downs)):  # the others belong to other ranks
        gate, up = x @ gates[expert].T, x @ ups[expert].T
        if l1_alphas is not None:
            gate, up = gate * l1_alphas[expert, 0].double(), up * l1_alphas[expert, 1].double()
        if activation_clamp is not None:
            gate, up = gate.clamp(max=activation_clamp), up.clamp(-activation_clamp, activation_clamp)
        inner = gate * gate.sigmoid() * up
        for factors in (l2_act_scales, l2_alphas):
            inner = inner if factors is None else inner * factors[expert].double()
        total += weights[:, expert, None] * (inner @ downs[expert].T)
    y.copy_(total)


def _tokens(slots: Mapping[str, torch.Tensor], mma_type: str) -> torch.Tensor:
    if mma_type == "bf16xbf16":
        return slots["x"].double()
    if mma_type == "nvfp4xnvfp4":
        values = from_fp4(slots["x"]) * ue4m3(slots["x_sf"]).repeat_interleave(16, -1)
        return values * slots["x_scales"].double() if "x_scales" in slots else values
    return real((slots["x"], slots["x_sf"]), 128 if mma_type == "fp8xfp8" else 32)


def _first_layer(l1: Any, mma_type: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The matrices of gate and up, [experts, intermediate, hidden] each."""
    rows = (l1 if isinstance(l1, torch.Tensor) else l1[0]).shape[1]
    halves = _rows_of_fp4(rows) if mma_type == "nvfp4xnvfp4" else _rows_in_turn(rows)
    if mma_type != "fp8xfp8":
        stored = _as_stored(l1, mma_type)
        return stored[:, halves[0]], stored[:, halves[1]]
    plain = real((l1[0][:, torch.cat(halves)], l1[1]))  # scale factors of blocks keep the plain order
    return plain[:, : rows // 2], plain[:, rows // 2 :]


def _rows_in_turn(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the rows of gate and of up are: 8 of each in turn."""
    index = torch.arange(rows // 2)
    gate = index // _TURN * 2 * _TURN + index % _TURN
    return gate, gate + _TURN


def _rows_of_fp4(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same for FP4 by FP4: of each 16 rows of both, the even ones of gate, those of up, then the odd ones."""
    index = torch.arange(rows // 2)
    gate = index // 16 * 32 + index % 2 * 16 + index % 16 // 2
    return gate, gate + _TURN


def _as_stored(operand: Any, mma_type: str) -> torch.Tensor:
    """[experts, rows, columns] as numbers, rows in the order of the storage."""
    if isinstance(operand, torch.Tensor):
        return operand.double()
    data, factors = operand
    if mma_type == "fp8xfp8":
        return real((data, factors))
    index = torch.arange(factors.shape[1])  # row 32 i + j of each 128 is at 4 j + i
    factors = factors[:, index // 128 * 128 + index % 32 * 4 + index % 128 // 32]
    if mma_type == "nvfp4xnvfp4":
        return from_fp4(data) * ue4m3(factors).repeat_interleave(16, -1)
    return real((data, factors), 32)


def pre_dispatch(
    x: torch.Tensor,
    topk_idx: torch.Tensor,
    topk_weights: torch.Tensor,
    data: torch.Tensor,
    factors: torch.Tensor,
    data_idx: torch.Tensor,
    data_weights: torch.Tensor,
    tokens: int,
    group_size: int = 128,
    mma_type: str | bool = False,
    whole: torch.Tensor | None = None,
    **_: Any,
) -> None:
    """Quantised tokens, and their routing; a slot without a token has expert -1 and weight 0."""
    data_idx.fill_(-1)[:tokens] = topk_idx
    data_weights.zero_()[:tokens] = topk_weights
    values = x.double()
    if mma_type == "nvfp4xnvfp4":
        assert whole is not None
        whole[:tokens] = (values.abs().amax(-1).clamp(1e-4) / (448 * 6)).float()
        data[:tokens], stored = to_nvfp4(values / whole[:tokens, None].double())
        factors[:tokens] = stored
    elif data.dtype == torch.int8:
        data[:tokens], scales = to_fp4(values, group_size)
        write_packed(scales, factors[:tokens])
    else:
        data[:tokens], scales = to_fp8(values, group_size, powers_of_two=factors.dtype == torch.int32)
        write_packed(scales, factors[:tokens])


def gate(
    x: torch.Tensor,
    weight: torch.Tensor,
    top_k: int,
    shared_as_routed: bool,
    shared: int,
    scaling: float,
    rank: int,
    scoring: str = "identity",
    bias: torch.Tensor | None = None,
    out: Any = None,
    **_: Any,
) -> Any:
    """The experts of the largest scores, a bias added for the choice only, and their shares of the scores."""
    logits = x.double() @ weight.double().T
    scores = {
        "identity": lambda: logits,
        "sigmoid": lambda: 1 / (1 + torch.exp(-logits)),
        "sqrtsoftplus": lambda: torch.log1p(torch.exp(logits)).sqrt(),
    }[scoring]()
    order = (scores if bias is None else scores + bias.double()).argsort(-1, descending=True)[:, :top_k]
    chosen = torch.take_along_dim(scores, order, 1)
    out[0].copy_(order)
    out[1].copy_(chosen / chosen.sum(-1, keepdim=True) * scaling)
    return out


def hyper_connections(
    x: torch.Tensor,
    residual: torch.Tensor,
    shifted_prev_mix: torch.Tensor | None,
    post_mix: torch.Tensor,
    comb_mix: torch.Tensor,
    fn: torch.Tensor,
    mix_scales: torch.Tensor,
    mix_bases: torch.Tensor,
    streams: int,
    norm_eps: float,
    pre_eps: float,
    post_scale: float,
    sinkhorn_eps: float,
    iterations: int,
    norm_weight: torch.Tensor,
    rms_eps: float,
    rms_scale: float,
    new_residual: torch.Tensor,
    new_prev_mix: torch.Tensor | None,
    new_post_mix: torch.Tensor,
    new_comb_mix: torch.Tensor,
    y: torch.Tensor,
    y_fp8: torch.Tensor | None = None,
    y_factors: torch.Tensor | None = None,
    **_: Any,
) -> None:
    """New streams of the residual, the coefficients that mix them in the next step, and their weighted, normed sum."""
    added = torch.einsum("tij,tih->tjh", comb_mix.double(), residual.double())
    new = post_mix.double() * x.double()[:, None] + added
    new_residual.copy_(new)
    flat = new.reshape(len(x), -1)
    mixes = torch.einsum("tc,rc->tr", flat, fn.double()) / (flat.square().mean(-1, keepdim=True) + norm_eps).sqrt()
    parts = []
    for part, rows in enumerate(torch.arange(streams * (2 + streams)).split((streams, streams, streams**2))):
        parts.append(mixes[:, rows] * mix_scales[part].double() + mix_bases[rows].double())
    prev = 1 / (1 + torch.exp(-parts[0])) + pre_eps
    new_post_mix.copy_((post_scale / (1 + torch.exp(-parts[1])))[..., None])
    new_comb_mix.copy_(_sinkhorn(parts[2].view(-1, streams, streams), sinkhorn_eps, iterations))
    if new_prev_mix is not None:
        new_prev_mix.copy_(prev[..., None])
    used = prev if shifted_prev_mix is None else shifted_prev_mix.double()[..., 0]
    summed = torch.einsum("tj,tjh->th", used, new)
    normed = summed / (summed.square().mean(-1, keepdim=True) + rms_eps).sqrt() * norm_weight.double() * rms_scale
    y.copy_(normed)
    if y_fp8 is not None and y_factors is not None:
        data, scales = to_fp8(normed, 32)
        y_fp8.copy_(data)
        write_packed(scales, y_factors)


def _sinkhorn(logits: torch.Tensor, eps: float, iterations: int) -> torch.Tensor:
    """A softmax of the rows; then columns and rows are brought to a sum of one in turn, columns last."""
    mix = torch.exp(logits - logits.amax(-1, keepdim=True))
    mix = mix / mix.sum(-1, keepdim=True) + eps
    for step in range(2 * iterations - 1):
        dim = -2 if step % 2 == 0 else -1
        mix = mix / (mix.sum(dim, keepdim=True) + eps)
    return mix
