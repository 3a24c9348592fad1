"""Configs and settings with missing, wrong or surprising values: one clear message each."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kregistry.errors import InputError, KregistryError, UnknownNameError
from kregistry.hf_config.call_site import LayerVerdict
from kregistry.hf_config.config import parse_config, read_config
from kregistry.hf_config.manifest_text import refuse_unusable
from kregistry.hf_config.resolve import ModelCalls

Resolve = Callable[..., ModelCalls]


@pytest.fixture
def raw(config_path: Callable[[str], Path]) -> Callable[..., dict[str, Any]]:
    """A config as JSON, with changes; ``None`` removes a key."""

    def change(name: str, **changes: Any) -> dict[str, Any]:
        data = copy.deepcopy(json.loads(config_path(name).read_text(encoding="utf-8")))
        data.update(changes)
        return {key: value for key, value in data.items() if value is not None}

    return change


def message(resolve: Resolve, data: object, engine: str = "sglang", **setting: Any) -> str:
    """The error message."""
    with pytest.raises(KregistryError) as caught:
        refuse_unusable(resolve(parse_config(data), engine, **setting))
    return str(caught.value)


def test_unquantised(resolve: Resolve, raw: Callable[..., Any]) -> None:
    text = message(resolve, raw("qwen3-32b-fp8", quantization_config=None), tp=4)
    assert "no layer goes to DeepGEMM" in text
    assert "the checkpoint is unquantised" in text


def test_per_channel(resolve: Resolve, raw: Callable[..., Any]) -> None:
    weights = {"type": "float", "num_bits": 8, "strategy": "channel"}
    quantization = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}
    text = message(resolve, raw("qwen3-32b-fp8", quantization_config=quantization), tp=4)
    assert "float8 by channel" in text
    assert "not FP8 in blocks" in text


def test_compressed_tensors_in_blocks(resolve: Resolve, raw: Callable[..., Any]) -> None:
    """Linear layers go to DeepGEMM, experts do not."""
    weights = {"type": "float", "num_bits": 8, "strategy": "block", "block_structure": [128, 128]}
    quantization = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}
    config = parse_config(raw("qwen3-235b-a22b-fp8", quantization_config=quantization))
    calls = resolve(config, "sglang", tp=8, a2a="deepep")
    assert [site.label for site in calls.with_verdict(LayerVerdict.DEEP_GEMM)] == ["qkv_proj", "o_proj"]
    assert {site.rule for site in calls.sites if site.label.startswith("experts")} == {"scheme"}


@pytest.mark.parametrize(
    ("quantization", "expected"),
    [
        ({"quant_method": "fp8"}, "FP8 per tensor"),
        ({"quant_method": "fp8", "weight_block_size": [64, 64]}, "FP8 in blocks of 64x64"),
        ({"quant_method": "awq"}, "quantised by awq"),
        ("fp8", "quantization_config: expected an object, got str"),
        ({}, "quant_method: expected a name"),
        ({"quant_method": "fp8", "weight_block_size": 128}, "expected two integers >= 1"),
        ({"quant_method": "fp8", "weight_block_size": [128, 0]}, "expected two integers >= 1"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "static"}, "dynamic"),
        ({"quant_method": "fp8", "ignored_layers": "lm_head"}, "expected a list of module names"),
        ({"quant_method": "fp8", "ignore": ["re:("]}, "is no regular expression"),
        ({"quant_method": "compressed-tensors"}, "config_groups: expected an object"),
    ],
)
def test_quantization(resolve: Resolve, raw: Callable[..., Any], quantization: object, expected: str) -> None:
    assert expected in message(resolve, raw("qwen3-32b-fp8", quantization_config=quantization))


@pytest.mark.parametrize(
    ("config", "changes", "expected"),
    [
        ("deepseek-v3", {"q_lora_rank": None}, "q_lora_rank is missing, and family 'mla' needs it"),
        ("deepseek-v3", {"hidden_size": "7168"}, 'hidden_size: expected an integer from 1 to 2147483647, got "7168"'),
        ("deepseek-v3", {"hidden_size": 0}, "hidden_size: expected an integer from 1"),
        ("deepseek-v3", {"hidden_size": 7168.0}, "hidden_size: expected an integer from 1"),
        ("deepseek-v3", {"num_attention_heads": True}, "num_attention_heads: expected an integer from 1"),
        ("deepseek-v3", {"moe_layer_freq": 2}, "moe_layer_freq is 2, but family 'mla' covers only 1"),
        ("qwen3-235b-a22b-fp8", {"mlp_only_layers": [3]}, "mlp_only_layers is [3]"),
        ("glm-5-fp8", {"indexer_rope_interleave": 1}, "expected true or false, got 1"),
        ("deepseek-v4-flash-fp8", {"compress_ratios": 4}, "compress_ratios: expected a list of integers, got 4"),
        ("deepseek-v3", {"architectures": []}, 'expected "architectures": ["NameForCausalLM"], got []'),
        ("qwen3-32b-fp8", {"hidden_size": 5000}, "qkv_proj"),
    ],
)
def test_config(resolve: Resolve, raw: Callable[..., Any], config: str, changes: dict[str, Any], expected: str) -> None:
    if expected == "qkv_proj":  # k = 5000 is no multiple of 128: another backend, the o_proj remains
        calls = resolve(parse_config(raw(config, **changes)), "sglang", tp=4)
        assert {site.rule for site in calls.sites if site.label == "qkv_proj"} == {"alignment"}
        return
    assert expected in message(resolve, raw(config, **changes))


@pytest.mark.parametrize(
    ("engine", "setting", "expected"),
    [
        ("sglang", {"tp": 3}, "128 cannot be divided by 3 (H = num_attention_heads = 128"),
        ("sglang", {"tp": 8, "dp": 3}, "dp 3 does not divide tp 8"),
        ("sglang", {"tp": 512, "a2a": "deepep"}, "ep 512 is more than the 256 experts"),
        ("sglang", {"tp": 8, "ep": 3}, "256 experts cannot be spread evenly over ep 3"),
        ("sglang", {"tp": 2, "ep": 4}, "ep 4 does not divide the 2 ranks"),
        ("sglang", {"a2a": "depep"}, "sglang has no all-to-all backend 'depep'"),
        ("sglang", {"tp": 8, "moe_dense_tp": 4}, "sglang takes --moe-dense-tp-size 1 or 8 (tp), got 4"),
        ("sglang", {"tp": 0}, "tp: expected an integer from 1"),
        ("sglang", {"max_batched_tokens": 8192}, "is an option of vllm"),
        ("sglang", {"tp": 8, "a2a": "deepep", "shared_expert_fusion": "on"}, "fuses shared experts only without"),
        ("sglang", {"moe_runner": "deep gemm"}, "moe_runner: expected a name"),
        ("vllm", {"tp": 2, "dp": 2, "ep": 2}, "tp * dp = 4 ranks or none, got ep 2"),
        ("vllm", {"chunked_prefill": 8192}, "--chunked-prefill-size is an option of sglang"),
        ("vllm", {"shared_expert_fusion": "on"}, "vllm never fuses"),
        ("trtllm", {}, "unknown engine 'trtllm'"),
    ],
)
def test_setting(
    resolve: Resolve, raw: Callable[..., Any], engine: str, setting: dict[str, Any], expected: str
) -> None:
    assert expected in message(resolve, raw("deepseek-v3"), engine, **setting)


def test_unknown_architecture(resolve: Resolve, raw: Callable[..., Any]) -> None:
    with pytest.raises(UnknownNameError) as caught:
        resolve(parse_config(raw("deepseek-v3", architectures=["LlamaForCausalLM"])), "sglang")
    assert caught.value.message == "unknown architecture 'LlamaForCausalLM'"
    assert "DeepseekV3ForCausalLM" in caught.value.known
    near = parse_config(raw("deepseek-v3", architectures=["DeepSeekV3ForCausalLM"]))
    with pytest.raises(UnknownNameError, match="did you mean 'DeepseekV3ForCausalLM'"):
        resolve(near, "sglang")


def test_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_config(tmp_path / "missing.json")
    broken = tmp_path / "config.json"
    for content, expected in (("{", "not valid JSON"), ("[]", "expected a JSON object")):
        broken.write_text(content)
        with pytest.raises(InputError, match=expected):
            read_config(broken)
    broken.write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        read_config(broken)


@pytest.mark.parametrize(
    ("pattern", "skipped"),
    [
        ("model.layers.N.self_attn.q_proj", True),
        ("model.layers.*.self_attn.q_proj", True),
        ("self_attn", True),
        ("re:.*self_attn.*", True),
        ("*.self_attn.q_*", True),
        ("model.layers.3.self_attn.q_proj", False),
        ("model.layers.3", False),
        ("q", False),
        ("gate", False),
        ("lm_head", False),
        ("re:.*mlp.*", False),
    ],
)
def test_modules_to_not_convert(resolve: Resolve, raw: Callable[..., Any], pattern: str, skipped: bool) -> None:
    data = raw("qwen3-32b-fp8")
    data["quantization_config"]["modules_to_not_convert"] = [pattern]
    [qkv] = [site for site in resolve(parse_config(data), "sglang", tp=4).sites if site.label == "qkv_proj"]
    assert (qkv.verdict is LayerVerdict.NOT_QUANTIZED) == skipped


def test_patterns_that_name_every_layer(resolve: Resolve, raw: Callable[..., Any]) -> None:
    data = raw("qwen3-32b-fp8")
    every = [f"model.layers.{layer}.self_attn.o_proj" for layer in range(data["num_hidden_layers"])]
    for patterns, skipped in ((every, True), (every[1:], False)):
        data["quantization_config"]["modules_to_not_convert"] = patterns
        [o_proj] = [site for site in resolve(parse_config(data), "sglang", tp=4).sites if site.label == "o_proj"]
        assert (o_proj.verdict is LayerVerdict.NOT_QUANTIZED) == skipped


def test_text_config(resolve: Resolve, raw: Callable[..., Any]) -> None:
    """A multimodal config holds the language model in text_config, with its quantisation there or above."""
    inner = raw("qwen3-32b-fp8")
    outer = {"architectures": inner.pop("architectures"), "text_config": inner, "hidden_size": 1}
    assert resolve(parse_config(outer), "sglang", tp=4).sites == resolve("qwen3-32b-fp8", "sglang", tp=4).sites
