"""Step-3.7-Flash: dense first layers, then routed experts beside a shared one."""

from __future__ import annotations

from kregistry.hf_config.families.blocks import GQA_SYMBOLS, O_PROJ, QKV, mlp
from kregistry.hf_config.model_family import Experts, Family, Symbol, Unquantized

FAMILY = Family(
    name="step3p7",
    summary="grouped-query attention, dense first layers, routed and shared experts: Step-3.7-Flash",
    architectures=("Step3p7FlashForCausalLM",),
    symbols=(
        *GQA_SYMBOLS,
        Symbol("inter", ("intermediate_size",)),
        Symbol("dense_layers", ("first_k_dense_replace",), minimum=0),
        Symbol("moe_inter", ("moe_intermediate_size",)),
        Symbol("shared_inter", ("share_expert_dim",)),
        Symbol("E", ("num_experts",)),
        Symbol("top_k", ("num_experts_per_tok",)),
    ),
    layers=(
        QKV,
        O_PROJ,
        *mlp("dense", "inter", "T", "dense_layers > 0", "mlp"),
        *mlp("shared expert", "shared_inter", "S", "1", "share_expert"),
        Experts("moe_inter/moe_tp", "hidden", weights=("moe",)),
        Unquantized("lm_head, MoE gate", "BF16 in every checkpoint"),
    ),
    source="SGLang 0.5.23, models/step3p5.py",
)
