"""MiMo-V2: full and sliding-window attention with KV counts of their own, values narrower than keys."""

from __future__ import annotations

from attrs import evolve

from kregistry.hf_config.families.blocks import O_PROJ, QKV, experts_symbol, mlp
from kregistry.hf_config.model_family import Experts, Family, Linear, Symbol, Unquantized


def _attention(kind: str, heads: str, kv: str, hd: str, v_hd: str) -> tuple[Linear, Linear]:
    part, n = f"{kind} attention", (f"{heads}/A * {hd}", f"kv_heads({kv}, A) * {hd}", f"kv_heads({kv}, A) * {v_hd}")
    return (
        evolve(QKV, label=f"{kind} qkv_proj", n=n, part=part, block_rule="unchecked"),
        evolve(O_PROJ, label=f"{kind} o_proj", k=f"{heads}/A * {v_hd}", part=part),
    )


FAMILY = Family(
    name="mimo-v2",
    summary="full and sliding-window attention with different KV heads, routed experts: MiMo-V2",
    architectures=("MiMoV2FlashForCausalLM", "MiMoV2ForCausalLM"),
    symbols=(
        Symbol("hidden", ("hidden_size",)),
        Symbol("H", ("num_attention_heads",)),
        Symbol("KV", ("num_key_value_heads",)),
        Symbol("hd", ("head_dim",)),
        Symbol("v_hd", ("v_head_dim",), null="hd"),
        Symbol("swa_H", ("swa_num_attention_heads",)),
        Symbol("swa_KV", ("swa_num_key_value_heads",)),
        Symbol("swa_hd", ("swa_head_dim",)),
        Symbol("swa_v_hd", ("swa_v_head_dim",), null="swa_hd"),
        Symbol("inter", ("intermediate_size",)),
        Symbol("dense_layers", ("moe_layer_freq",), default=0, count=0),
        Symbol("moe_inter", ("moe_intermediate_size",)),
        experts_symbol("n_routed_experts"),
        Symbol("top_k", ("num_experts_per_tok",)),
    ),
    layers=(
        *_attention("full", "H", "KV", "hd", "v_hd"),
        *_attention("sliding-window", "swa_H", "swa_KV", "swa_hd", "swa_v_hd"),
        *mlp("dense", "inter", "T", "dense_layers > 0", "mlp"),
        Experts("moe_inter/moe_tp", "hidden"),
        Unquantized("lm_head, MoE gate", "BF16 in every checkpoint"),
    ),
    fixed={"n_shared_experts": (None, 0), "attention_projection_layout": (None, "split")},
    source="SGLang 0.5.23 and vLLM 0.33.0, models/mimo_v2.py",
)
