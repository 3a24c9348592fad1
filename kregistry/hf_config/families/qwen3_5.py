"""Qwen3.5, dense: gated delta nets in most layers, gated full attention in the others."""

from __future__ import annotations

from kregistry.hf_config.families.blocks import mlp
from kregistry.hf_config.families.gated_delta import ATTENTION, SYMBOLS
from kregistry.hf_config.model_family import Family, Symbol, Unquantized

FAMILY = Family(
    name="qwen3.5",
    summary="gated delta nets with gated full attention and a dense MLP: Qwen3.5 and Qwen3.6, dense",
    architectures=("Qwen3_5ForConditionalGeneration", "Qwen3_5ForCausalLM"),
    symbols=(*SYMBOLS, Symbol("inter", ("intermediate_size",))),
    layers=(
        *ATTENTION,
        *mlp("dense", "inter", "T", "1", "mlp"),
        Unquantized("lm_head, conv1d, draft fc, vision tower", "BF16"),
    ),
    fixed={"attn_output_gate": (True,), "num_experts": (0, None)},
    source="SGLang 0.5.23 and vLLM 0.33.0, models/qwen3_5.py",
)
