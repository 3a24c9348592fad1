"""Layers that Qwen3-Next and Qwen3.5 share: gated delta nets, and full attention whose output has a gate."""

from __future__ import annotations

from kregistry.hf_config.families.blocks import GQA_SYMBOLS, O_PROJ
from kregistry.hf_config.model_family import Layer, Linear, Symbol

SYMBOLS = (
    *GQA_SYMBOLS,
    Symbol("kh", ("linear_num_key_heads",)),
    Symbol("kd", ("linear_key_head_dim",)),
    Symbol("vh", ("linear_num_value_heads",)),
    Symbol("vd", ("linear_value_head_dim",)),
)

_DELTA = "linear attention"
ATTENTION: tuple[Layer, ...] = (
    Linear(
        "GDN in_proj_qkvz",
        n=("kh/A * kd", "kh/A * kd", "vh/A * vd", "vh/A * vd"),
        k="hidden",
        split="column",
        over="A",
        part=_DELTA,
        weights=("linear_attn.in_proj_qkvz", "linear_attn.in_proj_qkv"),
    ),
    # A merged layer of one column for each head: it fills no block of 128 rows, so checkpoints keep it in BF16.
    Linear(
        "GDN in_proj_ba",
        n=("vh/A", "vh/A"),
        k="hidden",
        split="column",
        over="A",
        part=_DELTA,
        weights=("linear_attn.in_proj_ba", "linear_attn.in_proj_b"),
        block_rule="unquantized",
        note="whether the checkpoint quantises it is not verified",
    ),
    Linear(
        "GDN out_proj",
        n=("hidden",),
        k="vh/A * vd",
        split="row",
        over="A",
        part=_DELTA,
        weights=("linear_attn.out_proj",),
    ),
    Linear(
        "qkv_proj",
        n=("2 * (H/A) * hd", "kv_heads(KV, A) * hd", "kv_heads(KV, A) * hd"),
        k="hidden",
        split="column",
        over="A",
        weights=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        note="the output gate doubles q",
    ),
    O_PROJ,
)
