"""Qwen3-Next and Qwen3.5 MoE: gated delta nets in most layers, gated full attention in the others, routed experts."""

from __future__ import annotations

from kregistry.hf_config.families.blocks import experts_symbol, hopper_mega_moe, mlp
from kregistry.hf_config.families.gated_delta import ATTENTION, SYMBOLS
from kregistry.hf_config.model_family import Experts, Family, Symbol, Unquantized

FAMILY = Family(
    name="qwen3-next",
    summary="gated delta nets with gated full attention and routed experts: Qwen3-Next, Qwen3.5 MoE",
    architectures=(
        "Qwen3NextForCausalLM",
        "Qwen3_5MoeForConditionalGeneration",
        "Qwen3_5MoeForCausalLM",
    ),
    symbols=(
        *SYMBOLS,
        Symbol("moe_inter", ("moe_intermediate_size",)),
        experts_symbol("num_experts"),
        Symbol("top_k", ("num_experts_per_tok",)),
        Symbol("shared_inter", ("shared_expert_intermediate_size",), default=0, minimum=0),
    ),
    layers=(
        *ATTENTION,
        *mlp("shared expert", "shared_inter", "S", "shared_inter > 0", "mlp.shared_expert"),
        Experts("moe_inter/moe_tp", "hidden"),
        *hopper_mega_moe(),
        Unquantized("lm_head, MoE gate, shared-expert gate, conv1d, draft fc, vision tower", "BF16"),
    ),
    shared_experts="min(1, shared_inter)",
    shared_fusion="same size",
    fixed={"attn_output_gate": (True,), "mlp_only_layers": ([], None), "decoder_sparse_step": (1,)},
    source="SGLang 0.5.23 models/qwen3_next.py, qwen3_5.py",
)
