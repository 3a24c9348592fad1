"""The call sites that vLLM warms up, found by its own functions, as kernel types and shapes."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from attrs import frozen

from kregistry.integrations.vllm.layer_rules import FLASHINFER_ROWS
from kregistry.kernel_type import Value

#: Policies by which vLLM 0.33.0 derives num_splits of ``tf32_hc_prenorm_gemm`` from the number of tokens.
HC_NUM_SPLITS = ("vllm-buckets",)


@frozen
class LayerCall:
    """One call site of a model, for run-time values from ``start`` to ``stop``."""

    kernel_type: str
    shape: Mapping[str, Value]
    start: int
    stop: int
    label: str


def layer_calls(
    warmup: Any, model: Any, max_tokens: int, scale_forms: Collection[str], psum_scales: Collection[str] = ()
) -> Iterator[LayerCall]:
    """The calls of a model's linear layers and experts that vLLM would warm up, each once.

    Args:
        warmup: vLLM's module ``deep_gemm_warmup``.
        model: a torch module.
        scale_forms: the forms of scale factors to warm up.
        psum_scales: those of them with which experts use DeepGEMM's psum layout.
    """
    seen = set()
    for find in (_linear, _experts):
        for layer in model.modules():
            for kernel_type, sizes, start, stop, label in find(warmup, layer, max_tokens):
                key = (kernel_type, start, *sizes.items())
                if key not in seen:
                    seen.add(key)
                    for scales in scale_forms:
                        psum = label == "experts" and scales in psum_scales
                        layout = {"use_psum_layout": True} if psum else {}
                        yield LayerCall(kernel_type, {**sizes, "scales": scales, **layout}, start, stop, label)


_Call = tuple[str, Mapping[str, Value], int, int, str]


def _linear(warmup: Any, layer: Any, max_tokens: int) -> Iterator[_Call]:
    if hasattr(warmup, "_deep_gemm_linear_data"):
        data = warmup._deep_gemm_linear_data(layer)
    else:  # vLLM 0.26
        asked = warmup._fp8_linear_may_use_deep_gemm(layer)
        data = warmup._extract_data_from_linear_base_module(layer) if asked else None
    if data is not None:
        n, k = data[0].shape
        yield "fp8_gemm_nt", {"n": n, "k": k}, min(_first_m(layer), max_tokens), max_tokens, "linear"


def _first_m(layer: Any) -> int:
    """The fewest rows with which a linear layer calls DeepGEMM: its dynamic kernel has DeepGEMM's as its fallback."""
    if os.environ.get("VLLM_BATCH_INVARIANT", "0") not in ("", "0"):
        return 1
    for holder in (getattr(layer, "quant_method", None), getattr(layer, "scheme", None)):
        if getattr(getattr(holder, "fp8_linear", None), "fallback", None) is not None:
            return FLASHINFER_ROWS
    return 1


def _experts(warmup: Any, layer: Any, max_tokens: int) -> Iterator[_Call]:
    if not warmup._fused_moe_grouped_gemm_may_use_deep_gemm(layer):
        return
    w13, _, w2, _, top_k = warmup._extract_data_from_fused_moe_module(layer)
    stop, _, _ = warmup._get_grouped_gemm_params(w13, w2, top_k, max_tokens)
    for groups, n, k in (tuple(w13.shape), tuple(w2.shape)):
        if stop:
            yield "m_grouped_fp8_gemm_nt_contiguous", {"num_groups": groups, "n": n, "k": k}, 1, stop, "experts"
