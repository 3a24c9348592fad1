"""From calls to entries: labels, ranges and rules."""

from __future__ import annotations

from typing import Any

import pytest

from kregistry.registry import Registry
from kregistry.rehearsal.entries import entries, label
from kregistry.rehearsal.findings import Facts, RehearsedCall

FACTS = Facts("Model", 8, 2000, 256)


def call(m: int, *, kernel_type: str = "fp8_gemm_nt", step: str = "prefill", **given: Any) -> RehearsedCall:
    values: dict[str, Any] = {
        "shape": {"n": 512, "k": 1024},
        "tokens": m,
        "requests": 1,
        "site": "sglang/srt/layers/fp8.py:1",
        "model_site": "",
        "module": "model.layers.3.self_attn.o_proj",
        "weight": "weight",
    }
    return RehearsedCall(kernel_type, m=m, step=step, **{**values, **given})


@pytest.mark.parametrize(
    ("kernel_type", "module", "weight", "expected"),
    [
        ("fp8_gemm_nt", "model.layers.3.self_attn.fused_qkv_a_proj_with_mqa", "weight", "fused_qkv_a_proj"),
        ("fp8_gemm_nt", "model.layers.0.mlp.gate_up_proj", "weight", "dense gate_up_proj"),
        ("fp8_gemm_nt", "model.layers.9.mlp.shared_experts.down_proj", "weight", "shared expert down_proj"),
        ("fp8_gemm_nt", "model.layers.9.self_attn.indexer.wq_b", "weight", "indexer wq_b"),
        ("fp8_mqa_logits", "model.layers.9.self_attn.indexer", "", "indexer logits, prefill"),
        ("fp8_paged_mqa_logits", "model.layers.9.self_attn.indexer", "", "indexer logits, decode"),
        ("get_paged_mqa_logits_metadata", "model.layers.9.self_attn.indexer", "", "indexer schedule"),
        ("m_grouped_fp8_gemm_nt_masked", "model.layers.9.mlp.experts", "w13_weight", "experts w13 (masked)"),
        ("m_grouped_fp8_gemm_nt_contiguous", "model.layers.9.mlp.experts", "w2_weight", "experts w2 (contiguous)"),
        ("fp8_gemm_nt", "", "", "fp8_gemm_nt"),
        ("tf32_hc_prenorm_gemm", "model.layers.3.post_attention_layernorm", "", "hc_prenorm"),
    ],
)
def test_labels_are_those_of_init(kernel_type: str, module: str, weight: str, expected: str) -> None:
    assert label(call(1, kernel_type=kernel_type, module=module, weight=weight)) == expected


@pytest.mark.parametrize(
    ("kernel_type", "shape"),
    [
        ("get_mn_major_tma_aligned_tensor", {"columns": 56}),
        ("get_mn_major_tma_aligned_packed_ue8m0_tensor", {"columns": 56}),
        ("transform_sf_into_required_layout", {"k": 7168, "rows_per_scale": 128}),
    ],
)
def test_scales_of_weights_have_the_label_of_init(kernel_type: str, shape: dict[str, Any]) -> None:
    loading = call(1, kernel_type=kernel_type, shape=shape, step="load", module="")
    assert label(loading) == "weight scales, k = 7168"


def test_layers_of_one_shape_are_one_entry_with_every_place() -> None:
    calls = [call(1), call(8192, module="model.layers.4.self_attn.o_proj", site="sglang/b.py:2"), call(64)]
    (entry,) = entries(calls, Registry().__getitem__, FACTS)
    assert (entry.start, entry.stop, entry.step) == (1, 8192, 1)
    assert entry.sites == ("sglang/srt/layers/fp8.py:1", "sglang/b.py:2")
    assert entry.modules == ("model.layers.*.self_attn.o_proj",)
    assert entry.rule == "m = tokens of a forward; seen at 1, 64, 8192"


def test_the_range_goes_as_far_as_the_engines_own_warm_up() -> None:
    facts = Facts("Model", 8, 2000, 256, {"fp8_gemm_nt": 16384})
    (entry,) = entries([call(1), call(8192)], Registry().__getitem__, facts)
    assert entry.stop == 16384
    assert entry.rule.endswith("; the engine's own warm-up goes to 16384")


def test_a_rule_of_requests_is_followed_to_the_most_requests() -> None:
    given = {"kernel_type": "fp8_paged_mqa_logits", "step": "decode", "shape": {"num_heads": 64, "head_dim": 128}}
    (entry,) = entries([call(1, **given), call(512, requests=512, **given)], Registry().__getitem__, FACTS)
    assert (entry.start, entry.stop) == (1, 2000)
    prompt = call(1, **{**given, "step": "prefill"})
    (entry,) = entries([prompt, call(512, requests=512, **given)], Registry().__getitem__, FACTS)
    assert entry.stop == 2000, "a prompt of one token is a decode step of one request for vLLM"
    (seen_once,) = entries([call(1, **given)], Registry().__getitem__, FACTS)
    assert seen_once.stop == 1


def test_a_multiple_of_tokens_is_named_and_anything_else_is_listed() -> None:
    (twice,) = entries([call(2, tokens=1), call(128, tokens=64)], Registry().__getitem__, FACTS)
    assert twice.rule == "m = 2 x tokens of a forward; seen at 1, 64"
    (other,) = entries([call(128, tokens=1), call(256, tokens=9)], Registry().__getitem__, FACTS)
    assert other.rule == "m at tokens of a forward: 128 at 1, 256 at 9"


def test_steps_of_the_kernel_type_are_kept_if_every_value_has_them() -> None:
    shape = {"num_groups": 4, "n": 512, "k": 1024}
    kind = "m_grouped_fp8_gemm_nt_contiguous"
    (aligned,) = entries([call(128, kernel_type=kind, shape=shape)], Registry().__getitem__, FACTS)
    (other,) = entries([call(100, kernel_type=kind, shape=shape)], Registry().__getitem__, FACTS)
    assert (aligned.step, other.step) == (Registry()[kind].run_dimension.step, 1)


def test_sizes_of_weights_are_entries_of_their_own_unless_serving_covers_them() -> None:
    calls = [call(m, step="load", tokens=0, module="") for m in (24576, 6144, 64)] + [call(1), call(8192)]
    found = entries(calls, Registry().__getitem__, FACTS)
    assert [(each.start, each.stop) for each in found] == [(24576, 24576), (1, 8192)]
    assert found[0].rule == "m = 24576 while the model loads"


def test_what_only_a_captured_step_calls_goes_to_the_largest_captured_batch() -> None:
    shape = {"n": 512, "k": 1024, "num_sms": 72}
    calls = [call(m, step="captured decode", requests=m, shape=shape) for m in (1, 64)]
    facts = Facts("Model", 8, 2000, 256, {"fp8_gemm_nt": 16384})
    (entry,) = entries(calls, Registry().__getitem__, facts)
    assert (entry.start, entry.stop, entry.label) == (1, 256, "o_proj, captured decode")
