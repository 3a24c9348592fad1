"""Whatever a config or a setting says: a clear error or right shapes, never a traceback, never a silent wrong shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kregistry import Registry, get_target
from kregistry.errors import KregistryError
from kregistry.hf_config.call_site import LayerVerdict
from kregistry.hf_config.config import parse_config
from kregistry.hf_config.deployment import Deployment
from kregistry.hf_config.engines.sglang import A2A_BACKENDS
from kregistry.hf_config.engines.vllm_a2a import A2A_BACKENDS as VLLM_A2A_BACKENDS
from kregistry.hf_config.installed_families import installed_families
from kregistry.hf_config.manifest_text import parse, render
from kregistry.hf_config.resolve import ModelCalls, model_calls

ROOT = Path(__file__).parent.parent.parent
CONFIGS: list[dict[str, Any]] = [
    json.loads(path.read_text(encoding="utf-8"))
    for folder in (ROOT / "manifests" / "configs", ROOT / "tests" / "data" / "models" / "configs")
    for path in sorted(folder.glob("*.json"))
]
REGISTRY = Registry()
FAMILIES = installed_families().families

SMALL = st.sampled_from([1, 2, 3, 4, 8, 16, 32])
DEPLOYMENTS = st.builds(
    Deployment,
    engine=st.sampled_from(["sglang", "vllm"]),
    target=st.sampled_from([get_target("h100"), get_target("b200")]),
    tp=SMALL,
    ep=st.none() | SMALL,
    dp=SMALL,
    a2a=st.sampled_from([*A2A_BACKENDS, *VLLM_A2A_BACKENDS]),
    moe_runner=st.sampled_from(["auto", "deep_gemm", "triton"]),
    moe_dense_tp=st.none() | SMALL,
    shared_expert_fusion=st.sampled_from(["auto", "on", "off"]),
    redundant_experts=st.sampled_from([0, 8, 32]),
    chunked_prefill=st.none() | st.sampled_from([-1, 0, 1, 100, 8192, 1 << 20]),
    max_batched_tokens=st.none() | st.integers(1, 1 << 20),
    max_dispatch_tokens=st.none() | st.integers(1, 1024),
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([0, -1, 1, 128]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = sorted({key for config in CONFIGS for key in config} | {"text_config", "expert_dtype"})
QUANTIZATION_KEYS = [
    "quant_method",
    "weight_block_size",
    "activation_scheme",
    "modules_to_not_convert",
    "config_groups",
]


@st.composite
def changed_configs(draw: st.DrawFn) -> dict[str, Any]:
    """A real config with a few keys changed to anything, or removed."""
    config = dict(draw(st.sampled_from(CONFIGS)))
    for key in draw(st.lists(st.sampled_from(KEYS), max_size=3)):
        config[key] = draw(JUNK)
    if isinstance(config.get("quantization_config"), dict) and draw(st.booleans()):
        quantization = dict(config["quantization_config"])
        quantization[draw(st.sampled_from(QUANTIZATION_KEYS))] = draw(JUNK)
        config["quantization_config"] = quantization
    for key in draw(st.lists(st.sampled_from(KEYS), max_size=2)):
        config.pop(key, None)
    return config


def manifest_of(calls: ModelCalls) -> None:
    """Write the manifest and read it again: what is written is what was worked out."""
    text = render(calls, REGISTRY, name="model", command="kregistry init")
    manifest = parse(text, REGISTRY, "kernels.yaml", calls.deployment.target)
    sites = calls.with_verdict(LayerVerdict.DEEP_GEMM)
    assert [entry.label for entry in manifest.entries] == [site.label for site in sites]
    for entry, site in zip(manifest.entries, sites):
        assert site.shape.items() <= dict(entry.shape).items()
        assert site.rows is not None and entry.range.start <= entry.range.stop <= site.rows.stop


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changed_configs(), st.data())
def test_any_config(config: dict[str, Any], data: st.DataObject) -> None:
    try:
        deployment = data.draw(DEPLOYMENTS)
        manifest_of(model_calls(parse_config(config), deployment, REGISTRY, FAMILIES))
    except KregistryError as error:
        assert str(error)


@settings(max_examples=100, deadline=None)
@given(JUNK)
def test_any_json(data: object) -> None:
    try:
        parse_config(data)
    except KregistryError as error:
        assert str(error)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["deepseek-v3", "qwen3-235b-a22b-fp8", "glm-5-fp8", "minimax-m2.5"]), st.data())
def test_parts_make_the_whole(name: str, data: st.DataObject) -> None:
    """Sizes drawn at random that tp divides: what all ranks hold together is the layer on one rank."""
    config = json.loads((ROOT / "manifests" / "configs" / f"{name}.json").read_text(encoding="utf-8"))
    tp = data.draw(st.sampled_from([2, 3, 4, 6, 8]))
    for key in ("hidden_size", "moe_intermediate_size", "intermediate_size", "q_lora_rank", "v_head_dim", "head_dim"):
        if key in config:
            config[key] = 128 * tp * data.draw(st.integers(1, 6))
    config["num_attention_heads"] = 2 * tp * data.draw(st.integers(1, 4))  # 192 columns a head: blocks need two
    kv_heads = config["num_key_value_heads"] = data.draw(st.sampled_from([1, 2, tp, 3 * tp]))
    assume(tp % kv_heads == 0 or kv_heads % tp == 0)
    model, target = parse_config(config), get_target("h100")
    cut = model_calls(model, Deployment("sglang", target, tp=tp, shared_expert_fusion="off"), REGISTRY, FAMILIES)
    whole = model_calls(model, Deployment("sglang", target, shared_expert_fusion="off"), REGISTRY, FAMILIES)
    assert not cut.with_verdict(LayerVerdict.DOES_NOT_LOAD)
    for part, full in zip(cut.sites, whole.sites, strict=True):
        assert part.label == full.label
        if part.kernel_type != "fp8_gemm_nt":
            continue
        n, k = int(part.shape["n"] or 0), int(part.shape["k"] or 0)
        if f"column parallel over {tp} ranks" in part.role:
            # Key-value heads are replicated where there are more ranks than heads.
            further_copies = max(1, tp // kv_heads) - 1 if part.label == "qkv_proj" else 0
            n = n * tp - further_copies * 2 * kv_heads * config.get("head_dim", 0)
        elif f"row parallel over {tp} ranks" in part.role:
            k *= tp
        assert (n, k) == (full.shape["n"], full.shape["k"])


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(CONFIGS), SMALL, st.integers(1, 200))
def test_no_head_is_cut_in_two(config: dict[str, Any], tp: int, heads: int) -> None:
    changed = {**config, "num_attention_heads": heads}
    if "text_config" in config:
        changed["text_config"] = {**config["text_config"], "num_attention_heads": heads}
    calls = model_calls(parse_config(changed), Deployment("sglang", get_target("b200"), tp=tp), REGISTRY, FAMILIES)
    assert bool(heads % tp) <= bool(calls.with_verdict(LayerVerdict.DOES_NOT_LOAD))
