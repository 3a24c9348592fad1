"""Step-3.5-Flash and Step-3.7-Flash: dense first layers, then routed experts beside a shared one.

Sliding-window layers have other numbers of heads than those with full attention.
"""

from __future__ import annotations

from attrs import evolve

from kregistry.hf_config.families.blocks import O_PROJ, QKV, mlp
from kregistry.hf_config.model_family import Experts, Family, Linear, Symbol, Unquantized


def _attention(prefix: str, kind: str, heads: str, kv: str) -> tuple[Linear, Linear]:
    part, n = f"{kind} attention", (f"{heads}/A * hd", f"kv_heads({kv}, A) * hd", f"kv_heads({kv}, A) * hd")
    return (
        evolve(QKV, label=f"{prefix}qkv_proj", n=n, part=part),
        evolve(O_PROJ, label=f"{prefix}o_proj", k=f"{heads}/A * hd", part=part),
    )


FAMILY = Family(
    name="step3p5",
    summary="full and sliding-window attention with different heads, routed and shared experts: Step-3.5, Step-3.7",
    architectures=("Step3p5ForCausalLM", "Step3p7ForConditionalGeneration"),
    symbols=(
        Symbol("hidden", ("hidden_size",)),
        Symbol("H", ("num_attention_heads",)),
        Symbol("KV", ("num_attention_groups",)),
        Symbol("swa_H", ("attention_other_setting.num_attention_heads",)),
        Symbol("swa_KV", ("attention_other_setting.num_attention_groups",)),
        Symbol("hd", ("head_dim",)),
        Symbol("layers", ("num_hidden_layers",)),
        Symbol("moe_layers", ("moe_layers_enum",), length=True),
        Symbol("inter", ("intermediate_size",)),
        Symbol("moe_inter", ("moe_intermediate_size",)),
        Symbol("shared_inter", ("share_expert_dim", "share_expert_dims")),
        Symbol("E", ("moe_num_experts",)),
        Symbol("top_k", ("moe_top_k",)),
    ),
    layers=(
        *_attention("", "full", "H", "KV"),
        *_attention("sliding-window ", "sliding-window", "swa_H", "swa_KV"),
        *mlp("dense", "inter", "T", "layers > moe_layers", "mlp"),
        *mlp("shared expert", "shared_inter", "S", "1", "share_expert"),
        Experts("moe_inter/moe_tp", "hidden", weights=("moe",)),
        Unquantized("lm_head, MoE gate, g_proj, vision tower", "BF16 in every checkpoint"),
    ),
    source="SGLang 0.5.23 and vLLM 0.33.0, models/step3p5.py",
)
