"""GLM-4.5, 4.6 and 4.7: grouped-query attention, dense first layers, then routed experts beside shared ones."""

from __future__ import annotations

from kregistry.hf_config.families.blocks import GQA_SYMBOLS, O_PROJ, QKV, experts_symbol, mlp
from kregistry.hf_config.model_family import Experts, Family, Symbol, Unquantized

FAMILY = Family(
    name="glm4-moe",
    summary="grouped-query attention, dense first layers, routed and shared experts: GLM-4.5, 4.6, 4.7",
    architectures=("Glm4MoeForCausalLM",),
    symbols=(
        *GQA_SYMBOLS,
        Symbol("inter", ("intermediate_size",)),
        Symbol("dense_layers", ("first_k_dense_replace",), default=0, minimum=0),
        Symbol("moe_inter", ("moe_intermediate_size",)),
        experts_symbol("n_routed_experts"),
        Symbol("top_k", ("num_experts_per_tok",)),
        Symbol("n_shared", ("n_shared_experts",), default=0, minimum=0),
    ),
    layers=(
        QKV,
        O_PROJ,
        *mlp("dense", "inter", "T", "dense_layers > 0", "mlp"),
        *mlp("shared expert", "moe_inter * n_shared", "S", "n_shared > 0", "mlp.shared_experts"),
        Experts("moe_inter/moe_tp", "hidden"),
        Unquantized("lm_head, MoE gate, NextN eh_proj", "BF16 in every checkpoint"),
    ),
    shared_experts="n_shared",
    source="SGLang 0.5.23 and vLLM 0.33.0, models/glm4_moe.py",
)
