"""MiniMax-M2: its ``intermediate_size`` is that of one expert."""

from __future__ import annotations

from kregistry.hf_config.families.blocks import GQA_SYMBOLS, O_PROJ, QKV, experts_symbol
from kregistry.hf_config.model_family import Experts, Family, Symbol, Unquantized

FAMILY = Family(
    name="minimax-m2",
    summary="grouped-query attention with routed experts in every layer: MiniMax-M2",
    architectures=("MiniMaxM2ForCausalLM",),
    symbols=(
        *GQA_SYMBOLS,
        Symbol("moe_inter", ("intermediate_size",)),
        experts_symbol("num_local_experts"),
        Symbol("top_k", ("num_experts_per_tok",)),
    ),
    layers=(
        QKV,
        O_PROJ,
        Experts("moe_inter/moe_tp", "hidden", weights=("block_sparse_moe.experts",)),
        Unquantized("lm_head, MoE gate", "BF16 in every checkpoint"),
    ),
    fixed={"shared_intermediate_size": (0, None)},
    source="SGLang 0.5.23 and vLLM 0.33.0, models/minimax_m2.py",
)
