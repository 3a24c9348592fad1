"""Qwen3 with routed experts in every layer: 30B-A3B, 235B-A22B, Coder-480B."""

from __future__ import annotations

from kregistry.hf_config.families.blocks import GQA_SYMBOLS, O_PROJ, QKV, experts_symbol, hopper_mega_moe
from kregistry.hf_config.model_family import Experts, Family, Symbol, Unquantized

FAMILY = Family(
    name="qwen3-moe",
    summary="grouped-query attention with routed experts in every layer: Qwen3 MoE, Qwen3-VL MoE",
    architectures=("Qwen3MoeForCausalLM", "Qwen3VLMoeForConditionalGeneration"),
    symbols=(
        *GQA_SYMBOLS,
        Symbol("moe_inter", ("moe_intermediate_size",)),
        experts_symbol("num_experts"),
        Symbol("top_k", ("num_experts_per_tok",)),
    ),
    layers=(
        QKV,
        O_PROJ,
        Experts("moe_inter/moe_tp", "hidden"),
        *hopper_mega_moe(),
        Unquantized("lm_head, MoE gate, vision tower", "BF16 in every checkpoint"),
    ),
    fixed={
        "mlp_only_layers": ([], None),
        "decoder_sparse_step": (1,),
        "shared_expert_intermediate_size": (0, None),
    },
    source="SGLang 0.5.23 and vLLM 0.33.0, models/qwen3_moe.py",
)
