"""Qwen3, dense."""

from __future__ import annotations

from kregistry.hf_config.families.blocks import GQA_SYMBOLS, O_PROJ, QKV, mlp
from kregistry.hf_config.model_family import Family, Symbol, Unquantized

FAMILY = Family(
    name="qwen3",
    summary="grouped-query attention and a dense MLP: Qwen3, Qwen3-VL",
    architectures=("Qwen3ForCausalLM", "Qwen3VLForConditionalGeneration"),
    symbols=(*GQA_SYMBOLS, Symbol("inter", ("intermediate_size",))),
    layers=(
        QKV,
        O_PROJ,
        *mlp("dense", "inter", "T", "1", "mlp"),
        Unquantized("lm_head, vision tower", "BF16 in every checkpoint"),
    ),
    source="SGLang 0.5.23 and vLLM 0.33.0, models/qwen3.py",
)
