"""Ling 1.5 and 2.0 (Bailing MoE): grouped-query attention, dense first layers, routed experts beside shared ones."""

from __future__ import annotations

from attrs import evolve

from kregistry.hf_config.families.blocks import GQA_SYMBOLS, O_PROJ, QKV, experts_symbol, mlp
from kregistry.hf_config.model_family import Experts, Family, Symbol, Unquantized

FAMILY = Family(
    name="bailing-moe",
    summary="grouped-query attention, dense first layers, routed and shared experts: Ling and Ring 1.5, 2.0",
    architectures=("BailingMoeForCausalLM", "BailingMoeV2ForCausalLM"),
    symbols=(
        *GQA_SYMBOLS,
        Symbol("inter", ("intermediate_size",)),
        Symbol("dense_layers", ("first_k_dense_replace",), default=0, minimum=0),
        Symbol("moe_inter", ("moe_intermediate_size",)),
        experts_symbol("num_experts"),
        Symbol("top_k", ("num_experts_per_tok",)),
        Symbol("n_shared", ("num_shared_experts",), default=0, minimum=0),
        Symbol("shared_inter", ("moe_shared_expert_intermediate_size", "moe_intermediate_size")),
    ),
    layers=(
        evolve(QKV, label="query_key_value", weights=("attention.query_key_value",)),
        evolve(O_PROJ, label="dense", weights=("attention.dense",)),
        *mlp("dense", "inter", "T", "dense_layers > 0", "mlp"),
        *mlp("shared expert", "shared_inter * n_shared", "S", "n_shared > 0", "mlp.shared_experts"),
        Experts("moe_inter/moe_tp", "hidden"),
        Unquantized("lm_head, MoE gate", "BF16 in every checkpoint"),
    ),
    shared_experts="n_shared",
    source="SGLang 0.5.23 and vLLM 0.33.0, models/bailing_moe.py",
)
