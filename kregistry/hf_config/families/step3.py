"""Step-3: multi-matrix factorisation attention, one shared key-value head."""

from __future__ import annotations

from kregistry.hf_config.families.blocks import mlp
from kregistry.hf_config.model_family import Experts, Family, Linear, Symbol, Unquantized

FAMILY = Family(
    name="step3",
    summary="multi-matrix factorisation attention with routed experts: Step-3",
    architectures=("Step3VLForConditionalGeneration", "Step3TextForCausalLM"),
    symbols=(
        Symbol("hidden", ("hidden_size",)),
        Symbol("H", ("num_attention_heads",)),
        Symbol("hd", ("head_dim",)),
        Symbol("share_q", ("share_q_dim",)),
        Symbol("inter", ("intermediate_size",)),
        Symbol("moe_inter", ("moe_intermediate_size",)),
        Symbol("shared_inter", ("share_expert_dim",)),
        Symbol("E", ("moe_num_experts", "num_experts")),
        Symbol("top_k", ("moe_top_k", "num_experts_per_tok")),
    ),
    layers=(
        Linear(
            "qkv_proj",
            n=("share_q", "hd", "hd"),
            k="hidden",
            weights=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        ),
        Linear("wq", n=("H/A * hd",), k="share_q", split="column", over="A", weights=("self_attn.wq",)),
        Linear("o_proj", n=("hidden",), k="H/A * hd", split="row", over="A", weights=("self_attn.o_proj",)),
        *mlp("dense", "inter", "T", "1", "mlp"),
        *mlp("shared expert", "shared_inter", "S", "shared_inter > 0", "share_expert"),
        Experts("moe_inter/moe_tp", "hidden", weights=("moe",)),
        Unquantized("lm_head, MoE gate", "BF16 in every checkpoint"),
    ),
    fixed={"num_attention_groups": (1,)},
    source="SGLang 0.5.23 models/step3_vl.py",
)
