"""LongCat-Flash: two latent attentions and two dense MLPs a layer, beside routed experts."""

from __future__ import annotations

from kregistry.hf_config.families.blocks import experts_symbol, mlp
from kregistry.hf_config.families.mla import ATTENTION, ATTENTION_SYMBOLS
from kregistry.hf_config.model_family import Experts, Family, Linear, Symbol, Unquantized

FAMILY = Family(
    name="longcat",
    summary="LongCat-Flash: latent attention, two dense MLPs a layer, experts with zero-computation slots",
    architectures=("LongcatFlashForCausalLM",),
    symbols=(
        *ATTENTION_SYMBOLS,
        Symbol("inter", ("ffn_hidden_size", "intermediate_size")),
        Symbol("moe_inter", ("expert_ffn_hidden_size", "moe_intermediate_size")),
        experts_symbol("n_routed_experts"),
        Symbol("top_k", ("moe_topk", "num_experts_per_tok")),
        Symbol("nextn", ("num_nextn_predict_layers",), default=1, minimum=0),
    ),
    layers=(
        *ATTENTION,
        *mlp("dense", "inter", "T", "1", "mlps"),
        Experts("moe_inter/moe_tp", "hidden"),
        Linear(
            "NextN eh_proj",
            n=("hidden",),
            k="2 * hidden",
            part="NextN",
            weights=("eh_proj",),
            when="nextn > 0 and verify > 1",
        ),
        Unquantized("lm_head, MoE router", "BF16 in every checkpoint"),
    ),
    source="SGLang 0.5.23, models/longcat_flash.py",
)
