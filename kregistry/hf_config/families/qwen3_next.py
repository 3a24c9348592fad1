"""Qwen3-Next and Qwen3.5 MoE: gated delta nets in most layers, gated full attention in the others."""

from __future__ import annotations

from kregistry.hf_config.families.blocks import GQA_SYMBOLS, O_PROJ, mlp
from kregistry.hf_config.model_family import Experts, Family, Linear, Symbol, Unquantized

FAMILY = Family(
    name="qwen3-next",
    summary="gated delta nets with gated full attention and routed experts: Qwen3-Next, Qwen3.5 MoE",
    architectures=("Qwen3NextForCausalLM", "Qwen3_5MoeForConditionalGeneration"),
    symbols=(
        *GQA_SYMBOLS,
        Symbol("kh", ("linear_num_key_heads",)),
        Symbol("kd", ("linear_key_head_dim",)),
        Symbol("vh", ("linear_num_value_heads",)),
        Symbol("vd", ("linear_value_head_dim",)),
        Symbol("moe_inter", ("moe_intermediate_size",)),
        Symbol("E", ("num_experts",)),
        Symbol("top_k", ("num_experts_per_tok",)),
        Symbol("shared_inter", ("shared_expert_intermediate_size",), default=0, minimum=0),
    ),
    layers=(
        Linear(
            "GDN in_proj_qkvz",
            n=("kh/A * kd", "kh/A * kd", "vh/A * vd", "vh/A * vd"),
            k="hidden",
            split="column",
            over="A",
            part="linear attention",
            weights=("linear_attn.in_proj_qkvz",),
        ),
        Linear(
            "GDN in_proj_ba",
            n=("vh/A", "vh/A"),
            k="hidden",
            split="column",
            over="A",
            part="linear attention",
            weights=("linear_attn.in_proj_ba",),
            block_rule=False,
            note="whether the checkpoint quantises it is not verified",
        ),
        Linear(
            "GDN out_proj",
            n=("hidden",),
            k="vh/A * vd",
            split="row",
            over="A",
            part="linear attention",
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
        *mlp("shared expert", "shared_inter", "S", "shared_inter > 0", "mlp.shared_expert"),
        Experts("moe_inter/moe_tp", "hidden"),
        Unquantized("lm_head, MoE gate, shared-expert gate, conv1d", "BF16"),
    ),
    shared_experts="min(1, shared_inter)",
    fixed={"attn_output_gate": (True,), "mlp_only_layers": ([], None), "decoder_sparse_step": (1,)},
    source="SGLang 0.5.23 models/qwen3_next.py, qwen3_5.py",
)
