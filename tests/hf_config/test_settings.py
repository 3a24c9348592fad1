"""What the engines' options and a checkpoint's form change: blocks, backends, SMs, draft layers, weights that load."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from kregistry.errors import InputError
from kregistry.hf_config.call_site import CallSite, LayerVerdict
from kregistry.hf_config.config import ModelConfig, parse_config, read_config
from kregistry.hf_config.deployment import Deployment
from kregistry.hf_config.manifest_text import render
from kregistry.hf_config.model_family import Family
from kregistry.hf_config.resolve import ModelCalls, find_family, model_calls
from kregistry.registry import Registry
from kregistry.target import get_target

Resolve = Callable[..., ModelCalls]
Change = Callable[..., ModelConfig]


@pytest.fixture(scope="module")
def changed(config_path: Callable[[str], Path]) -> Change:
    """A config with other keys, in its text_config if it has one; ``quantization`` changes quantization_config."""

    def change(name: str, quantization: dict[str, Any] | None = None, **keys: Any) -> ModelConfig:
        data = copy.deepcopy(json.loads(config_path(name).read_text(encoding="utf-8")))
        data.get("text_config", data).update(keys)
        if quantization is not None:
            data["quantization_config"] = quantization
        return parse_config(data)

    return change


def labelled(calls: ModelCalls, label: str) -> list[CallSite]:
    return [each for each in calls.sites if each.label == label]


def shape(calls: ModelCalls, label: str) -> dict[str, Any]:
    """The shape of a call that goes to DeepGEMM."""
    [site] = labelled(calls, label)
    assert site.verdict is LayerVerdict.DEEP_GEMM, site.reason
    return dict(site.shape)


# ---- parts of weights that are no whole blocks -------------------------------------------------------------------


@pytest.mark.parametrize(("tp", "n"), [(8, 8 * 192 + 192 + 128), (4, 16 * 192 + 192 + 128)])
@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_mimo_loads_parts_that_do_not_divide(resolve: Resolve, engine: str, tp: int, n: int) -> None:
    calls = (
        resolve("mimo-v2-flash", engine, tp=tp, a2a="deepep")
        if engine == "sglang"
        else resolve("mimo-v2-flash", engine, tp=tp)
    )
    assert shape(calls, "full qkv_proj") == {"n": n, "k": 4096}
    assert not calls.with_verdict(LayerVerdict.DOES_NOT_LOAD)


def test_a_merged_layer_of_vllm_may_have_such_parts(resolve: Resolve) -> None:
    """V4-Pro's shared expert at tp 16: 192 rows each of gate and up. SGLang refuses the same."""
    assert shape(resolve("deepseek-v4-pro-fp8", "vllm", tp=16), "shared expert gate_up_proj") == {"n": 384, "k": 7168}
    [refused] = labelled(resolve("deepseek-v4-pro-fp8", "sglang", tp=16), "shared expert gate_up_proj")
    assert refused.verdict is LayerVerdict.DOES_NOT_LOAD


@pytest.mark.parametrize(
    ("model", "tp", "label"),
    [("qwen3-32b-fp8", 16, "dense down_proj"), ("deepseek-v4-pro-fp8", 16, "shared expert down_proj")],
)
def test_row_parallel_parts_of_vllm_must_divide(resolve: Resolve, model: str, tp: int, label: str) -> None:
    [site] = labelled(resolve(model, "vllm", tp=tp), label)
    assert (site.verdict, site.rule) == (LayerVerdict.DOES_NOT_LOAD, "block")
    assert "vllm refuses to load the model: k = " in site.reason


@pytest.mark.parametrize(("tp", "n"), [(8, 256), (16, 256)])
def test_vllm_pads_experts_where_deep_gemm_is_asked_for(resolve: Resolve, tp: int, n: int) -> None:
    asked = resolve("qwen3-30b-a3b-fp8", "vllm", tp=tp, moe_runner="deep_gemm")
    assert shape(asked, "experts w13 (contiguous)") == {"num_groups": 128, "n": n, "k": 2048, "use_psum_layout": True}
    [site] = labelled(resolve("qwen3-30b-a3b-fp8", "vllm", tp=tp), "experts w13")
    assert site.rule == "block"


@pytest.mark.parametrize("model", ["qwen3-next-80b-a3b-fp8", "qwen3.5-35b-a3b-fp8", "qwen3.5-9b-fp8"])
@pytest.mark.parametrize("tp", [1, 4])
def test_in_proj_ba_stays_in_bf16(resolve: Resolve, model: str, tp: int) -> None:
    [site] = labelled(resolve(model, "sglang", tp=tp), "GDN in_proj_ba")
    assert site.verdict is LayerVerdict.NOT_QUANTIZED


def test_qwen3_next_fuses_its_shared_expert_without_all_to_all(resolve: Resolve, changed: Change) -> None:
    """As a routed one, since both have the same size; behind an all-to-all backend or TRT-LLM it is whole."""
    model = "qwen3-next-80b-a3b-fp8"
    fused = resolve(model, "sglang", tp=4)
    assert fused.values["fused"] == 1
    assert {site.verdict for site in fused.sites if site.label.startswith("shared")} == {LayerVerdict.FUSED}
    apart = resolve(model, "sglang", tp=4, a2a="deepep")
    assert shape(apart, "shared expert down_proj") == {"n": 2048, "k": 512}
    assert resolve(model, "sglang", "b200", tp=4).values["fused"] == 0
    other = changed(model, shared_expert_intermediate_size=1024)
    assert resolve(other, "sglang", tp=4).values["fused"] == 0


@pytest.mark.parametrize("architecture", ["Qwen3_5MoeForConditionalGeneration", "Qwen3_5MoeForCausalLM"])
def test_qwen3_5_never_fuses_its_shared_expert(resolve: Resolve, changed: Change, architecture: str) -> None:
    """Its class asks for fusion on AMD GPUs alone, although both experts have one size; rehearsals agree."""
    config = evolve(changed("qwen3.5-35b-a3b-fp8"), architecture=architecture)
    for tp, n, k in ((1, 1024, 512), (4, 256, 128)):
        calls = resolve(config, "sglang", tp=tp)
        assert calls.values["fused"] == 0
        assert shape(calls, "shared expert gate_up_proj") == {"n": n, "k": 2048}
        assert shape(calls, "shared expert down_proj") == {"n": 2048, "k": k}
    with pytest.raises(InputError, match="never fuses the shared expert"):
        resolve(config, "sglang", shared_expert_fusion="on")


# ---- blocks of 32, Model Optimizer -------------------------------------------------------------------------------

BLOCK32 = {"quant_method": "fp8", "weight_block_size": [32, 32], "activation_scheme": "dynamic"}


@pytest.mark.parametrize("model", ["qwen3-32b-fp8", "deepseek-v3"])
def test_blocks_of_32(resolve: Resolve, changed: Change, model: str) -> None:
    """DeepGEMM on Hopper in SGLang; n a multiple of 8, k of 32. Experts and Blackwell use Triton, vLLM too."""
    config = changed(model, BLOCK32)
    calls = resolve(config, "sglang", tp=4)
    found = calls.with_verdict(LayerVerdict.DEEP_GEMM)
    assert {site.kernel_type for site in found} == {"fp8_gemm_nt_block32"}
    assert "o_proj" in {site.label for site in found}
    for engine, target in (("sglang", "b200"), ("vllm", "h100")):
        assert not resolve(config, engine, target, tp=4).with_verdict(LayerVerdict.DEEP_GEMM)


NVFP4 = {"quantization": {"quant_algo": "NVFP4", "group_size": 16, "exclude_modules": ["lm_head", "model.layers.61*"]}}


@pytest.mark.parametrize(("model", "pattern"), [("deepseek-v3", "model.layers.61*"), ("qwen3-235b-a22b-fp8", "mtp*")])
def test_hf_quant_config(
    resolve: Resolve, config_path: Callable[[str], Path], tmp_path: Path, model: str, pattern: str
) -> None:
    """NVFP4 beside config.json: nothing of the model goes to DeepGEMM, the BF16 experts of its draft layer do."""
    data = json.loads(config_path(model).read_text(encoding="utf-8"))
    del data["quantization_config"]
    (tmp_path / "config.json").write_text(json.dumps(data))
    nvfp4 = copy.deepcopy(NVFP4)
    nvfp4["quantization"]["exclude_modules"][1] = pattern
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(nvfp4))
    config = read_config(tmp_path / "config.json")
    assert config.quantization.scheme == "NVFP4 (modelopt)"
    plain = resolve(config, "sglang", tp=8, a2a="deepep")
    assert not plain.with_verdict(LayerVerdict.DEEP_GEMM)
    draft = resolve(config, "sglang", tp=8, a2a="deepep", speculative_tokens=4).with_verdict(LayerVerdict.DEEP_GEMM)
    assert {site.kernel_type for site in draft} == {
        "m_grouped_bf16_gemm_nt_contiguous",
        "m_grouped_bf16_gemm_nt_masked",
    }
    assert all(site.label.startswith("draft experts") for site in draft)
    (tmp_path / "hf_quant_config.json").write_text("{")
    with pytest.raises(InputError, match=r"hf_quant_config\.json: not valid JSON"):
        read_config(tmp_path / "config.json")


@pytest.mark.parametrize("algorithm", ["NVFP4", "FP8"])
def test_modelopt_in_config_json(resolve: Resolve, changed: Change, algorithm: str) -> None:
    config = changed("qwen3-32b-fp8", {"quant_algo": algorithm, "ignore": ["lm_head"]})
    [site] = labelled(resolve(config, "sglang", tp=4), "o_proj")
    assert (site.verdict, site.rule) == (LayerVerdict.OTHER_BACKEND, "scheme")
    assert f"{algorithm} (modelopt)" in site.reason


def test_mixed_precision(resolve: Resolve, changed: Change) -> None:
    """Modules in FP8 blocks go to DeepGEMM, NVFP4 experts do not."""
    layers = {
        "model.layers.0.self_attn.q_proj": {"quant_algo": "FP8_PB_WO"},
        "model.layers.0.self_attn.k_proj": {"quant_algo": "FP8_PB_WO"},
        "model.layers.0.self_attn.v_proj": {"quant_algo": "FP8_PB_WO"},
        "model.layers.0.mlp.experts.0.gate_proj": {"quant_algo": "NVFP4"},
    }
    mixed = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers}
    calls = resolve(changed("qwen3-235b-a22b-fp8", mixed), "sglang", tp=8, a2a="deepep")
    assert [site.label for site in calls.with_verdict(LayerVerdict.DEEP_GEMM)] == ["qkv_proj"]
    assert labelled(calls, "o_proj")[0].verdict is LayerVerdict.NOT_QUANTIZED
    assert "NVFP4" in labelled(calls, "experts w13")[0].reason


@pytest.mark.parametrize(
    ("quantization", "expected"),
    [
        ({"quant_method": "modelopt"}, "quant_algo: expected a name"),
        ({"quantization": {"quant_algo": 4}}, "quant_algo: expected a name"),
        ({"quant_algo": "MIXED_PRECISION"}, "quantized_layers: expected an object"),
        ({"quant_method": "modelopt", "quantization": [1]}, "quantization: expected an object"),
    ],
)
def test_malformed_modelopt(changed: Change, quantization: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        changed("qwen3-32b-fp8", quantization)


# ---- DeepSeek-V4 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "h", "r"), [("deepseek-v4-flash-fp8", 8, 4096), ("deepseek-v4-pro-fp8", 16, 4096)])
def test_wo_a(resolve: Resolve, model: str, h: int, r: int) -> None:
    """Packed scale factors on Blackwell, FP32 ones on Hopper, where SGLang takes bmm unless asked."""
    blackwell = resolve(model, "sglang", "b200", tp=8, dp=8, a2a="deepep")
    assert shape(blackwell, "wo_a") == {"h": h, "d": 1024, "r": r, "scales": "ue8m0"}
    assert shape(resolve(model, "vllm", dp=8, ep=8), "wo_a") == {"h": h, "d": 1024, "r": r, "scales": "f32"}
    assert labelled(resolve(model, "sglang", tp=8, dp=8, a2a="deepep"), "wo_a")[0].verdict is LayerVerdict.OTHER_BACKEND


@pytest.mark.parametrize(
    ("model", "experts", "hidden", "inter"),
    [("deepseek-v4-flash-fp8", 256, 4096, 2048), ("deepseek-v4-pro-fp8", 384, 7168, 3072)],
)
def test_mega_moe_of_hopper(resolve: Resolve, model: str, experts: int, hidden: int, inter: int) -> None:
    calls = resolve(model, "sglang", tp=8, a2a="megamoe")
    assert shape(calls, "mega MoE") == {
        "num_experts": experts,
        "top_k": 6,
        "hidden": hidden,
        "intermediate": inter,
        "max_tokens": 9600,
        "num_ranks": 8,
        "num_sms": 132,
    }
    assert shape(calls, "mega MoE pre-dispatch") == {"hidden": hidden, "top_k": 6}
    assert labelled(calls, "experts w13")[0].verdict is LayerVerdict.FUSED


@pytest.mark.parametrize(("version", "shared"), [("0.2.3", 1), ("0.1.4", 0)])
@pytest.mark.parametrize(
    ("engine", "sms", "tokens", "setting"),
    [
        ("sglang", 146, 9600, {"tp": 8, "a2a": "megamoe", "chunked_prefill": 8192}),
        ("vllm", 148, 17280, {"dp": 8, "ep": 8, "moe_runner": "deep_gemm_mega_moe"}),
    ],
)
def test_mega_moe_of_blackwell(
    resolve: Resolve,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    shared: int,
    engine: str,
    sms: int,
    tokens: int,
    setting: dict[str, Any],
) -> None:
    """FP4 experts; SGLang leaves two SMs. The shared expert is part of the launch, except with DeepGEMM 0.1."""
    monkeypatch.setattr("kregistry.hf_config.engines.engine.deep_gemm_version", lambda: version)
    monkeypatch.setattr("kregistry_plugins.installed.is_first_series", lambda: version == "0.1.4")
    calls = resolve("deepseek-v4-flash", engine, "b200", **setting)
    found = shape(calls, "mega MoE")
    assert (found["num_sms"], found["max_tokens"], found["num_ranks"]) == (sms, tokens, 8)
    assert (found["activation_clamp"], found.get("num_shared_experts", 0)) == (10, shared)
    [down] = labelled(calls, "shared expert down_proj")
    assert down.verdict is (LayerVerdict.FUSED if shared else LayerVerdict.DEEP_GEMM)


def test_a_step_of_mega_moe_must_fit(resolve: Resolve) -> None:
    """SGLang does not start where a prefill step is larger than the buffer: init says so."""
    [note] = resolve("deepseek-v4-flash", "sglang", "b200", tp=8, a2a="megamoe").engine.notes
    assert "lower --chunked-prefill-size" in note
    raised = resolve("deepseek-v4-flash", "sglang", "b200", tp=8, a2a="megamoe", max_dispatch_tokens=16384)
    assert raised.engine.notes == []


@pytest.mark.parametrize("model", ["deepseek-v3", "qwen3-235b-a22b-fp8", "qwen3-next-80b-a3b-fp8"])
def test_mega_moe_of_other_models(resolve: Resolve, model: str) -> None:
    """On Hopper for FP8 experts of every model that has the path; SGLang builds none of them on Blackwell."""
    calls = resolve(model, "sglang", tp=8, a2a="megamoe")
    found = shape(calls, "mega MoE")
    assert (found["num_ranks"], found["max_tokens"]) == (8, 9600)
    [site] = labelled(resolve(model, "sglang", "b200", tp=8, a2a="megamoe"), "experts w13")
    assert (site.verdict, site.rule) == (LayerVerdict.OTHER_BACKEND, "arch")


def test_the_draft_layer_is_loaded_only_where_the_engine_speculates(resolve: Resolve, changed: Change) -> None:
    for model, labels in (
        ("deepseek-v4-flash-fp8", ("NextN e_proj", "NextN h_proj")),
        ("deepseek-v4-pro-fp8", ("NextN e_proj", "NextN h_proj")),
        ("longcat-flash", ("NextN eh_proj",)),
    ):
        for label in labels:
            assert labelled(resolve(model, "sglang", tp=8, a2a="deepep"), label) == []
            assert shape(resolve(model, "sglang", tp=8, a2a="deepep", speculative_tokens=2), label)["k"]


# ---- backends of experts in vLLM ---------------------------------------------------------------------------------

#: (target, setting) -> the grouped layout, or the backend that is preferred.
BACKENDS: list[tuple[str, dict[str, Any], str]] = [
    ("h100", {"a2a": "deepep_low_latency"}, "masked"),
    ("b200", {"a2a": "deepep_low_latency"}, "masked"),
    ("h100", {"a2a": "nixl_ep"}, "masked"),
    ("b200", {"a2a": "deepep_high_throughput"}, "contiguous"),
    ("b200", {"a2a": "mori_low_latency"}, "contiguous"),
    ("b200", {"eplb": True}, "contiguous"),
    ("b200", {"redundant_experts": 32}, "contiguous"),
    ("h100", {"a2a": "deepep_high_throughput"}, "flashinfer_cutlass"),
    ("h100", {}, "flashinfer_cutlass"),
    ("b200", {}, "flashinfer_trtllm"),
    ("b200", {"a2a": "deepep_v2"}, "flashinfer_trtllm"),
    ("b200", {"a2a": "flashinfer_nvlink_one_sided"}, "flashinfer_trtllm"),
]


@pytest.mark.parametrize("model", ["deepseek-v3", "qwen3-235b-a22b-fp8"])
@pytest.mark.parametrize(("target", "setting", "expected"), BACKENDS)
def test_vllm_backends(resolve: Resolve, model: str, target: str, setting: dict[str, Any], expected: str) -> None:
    calls = resolve(model, "vllm", target, dp=8, ep=8, **setting)
    found = [site for site in calls.sites if site.label.startswith("experts w13")]
    if expected in ("masked", "contiguous"):
        [site] = found
        assert (site.label, site.verdict) == (f"experts w13 ({expected})", LayerVerdict.DEEP_GEMM)
    else:
        assert all(site.rule == "runner" and expected in site.reason for site in found)


def test_low_latency_of_vllm(resolve: Resolve) -> None:
    """A step has 256 tokens by default there; the sizes of V3 at dp 8."""
    calls = resolve("deepseek-v3", "vllm", dp=8, ep=8, a2a="deepep_low_latency")
    assert shape(calls, "experts w13 (masked)") == {"num_groups": 32, "n": 4096, "k": 7168}
    assert shape(calls, "experts w2 (masked)") == {"num_groups": 32, "n": 7168, "k": 2048}
    [o_proj] = labelled(calls, "o_proj")
    assert o_proj.rows is not None and o_proj.rows.stop == 256


def test_backends_that_vllm_no_longer_has(resolve: Resolve) -> None:
    with pytest.raises(InputError, match="has removed the all-to-all backend 'pplx'"):
        resolve("deepseek-v3", "vllm", dp=8, ep=8, a2a="pplx")
    with pytest.raises(InputError, match="has deep_gemm_mega_moe on sm100 only"):
        resolve("deepseek-v4-flash", "vllm", dp=8, ep=8, moe_runner="deep_gemm_mega_moe")
    [site] = labelled(
        resolve("deepseek-v3", "vllm", dp=8, ep=8, moe_runner="deep_gemm", a2a="flashinfer_nvlink_two_sided"),
        "experts w13",
    )
    assert site.verdict is LayerVerdict.DOES_NOT_LOAD


@pytest.mark.parametrize("model", ["deepseek-v3", "qwen3-32b-fp8"])
def test_flashinfer_computes_few_rows_on_hopper(resolve: Resolve, model: str) -> None:
    for target, start in (("h100", 32), ("h200", 32), ("b200", None)):
        [site] = labelled(resolve(model, "vllm", target, tp=4), "o_proj")
        assert site.rows is not None and site.rows.start == start
    [site] = labelled(resolve(model, "sglang", tp=4), "o_proj")
    assert site.rows is not None and site.rows.start is None


# ---- fewer SMs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["deepseek-v3", "qwen3-235b-a22b-fp8"])
def test_two_batch_overlap(resolve: Resolve, model: str) -> None:
    """SGLang leaves DeepEP 20 SMs in a prefill: not for the dense layers before the experts, nor for decode steps."""
    calls = resolve(model, "sglang", tp=8, dp=8, a2a="deepep", two_batch_overlap=True)
    assert shape(calls, "o_proj, two-batch overlap")["num_sms"] == 112
    assert shape(calls, "experts w13 (contiguous), two-batch overlap")["num_sms"] == 112
    assert labelled(calls, "experts w13 (masked), two-batch overlap") == []
    assert labelled(calls, "dense down_proj, two-batch overlap") == []
    vllm = resolve(model, "vllm", "b200", dp=8, ep=8, a2a="deepep_high_throughput", two_batch_overlap=True)
    assert shape(vllm, "o_proj, dual-batch overlap")["num_sms"] == 128
    quiet = resolve(model, "vllm", dp=8, ep=8, a2a="deepep_low_latency", two_batch_overlap=True)
    assert not [site for site in quiet.sites if "overlap" in site.label]


@pytest.mark.parametrize("model", ["deepseek-v3", "kimi-k2-instruct"])
def test_single_batch_overlap(resolve: Resolve, model: str) -> None:
    """The shared expert leaves 32 SMs to the combine on Blackwell."""
    calls = resolve(model, "sglang", "b200", tp=8, a2a="deepep", single_batch_overlap=True)
    assert shape(calls, "shared expert down_proj, single-batch overlap")["num_sms"] == 116
    assert labelled(calls, "o_proj, single-batch overlap") == []
    hopper = resolve(model, "sglang", tp=8, a2a="deepep", single_batch_overlap=True)
    assert labelled(hopper, "shared expert down_proj, single-batch overlap") == []


def test_context_parallel_attention(resolve: Resolve) -> None:
    """It divides the ranks that share heads in SGLang, and multiplies the ranks of experts in vLLM."""
    for model, n in (("deepseek-v3", 24576 // 4), ("glm-5-fp8", 64 * 256 // 4)):
        assert shape(resolve(model, "sglang", tp=8, cp=2, a2a="deepep"), "q_b_proj")["n"] == n
    assert resolve("deepseek-v3", "vllm", tp=4, cp=2, ep=8).values["ep"] == 8
    with pytest.raises(InputError, match="no pipeline stages with context parallel"):
        resolve("deepseek-v3", "sglang", tp=8, cp=2, pp=2)


@pytest.mark.parametrize(
    ("engine", "setting", "expected"),
    [
        ("sglang", {"tp": 8, "two_batch_overlap": True}, "only with an all-to-all backend"),
        ("vllm", {"single_batch_overlap": True}, "is an option of sglang"),
        ("sglang", {"tp": 8, "a2a": "megamoe", "two_batch_overlap": True}, "no two-batch or single-batch overlap"),
        ("sglang", {"tp": 8, "cp": 3}, "dp 1 * cp 3 does not divide tp 8"),
        ("sglang", {"tp": 8, "moe_dense_tp": 2}, "sglang takes --moe-dense-tp-size 1 or 8"),
        ("sglang", {"speculative_tokens": 0}, "speculative_tokens: expected an integer from 1"),
    ],
)
def test_refused_settings(resolve: Resolve, engine: str, setting: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve("deepseek-v3", engine, **setting)
    assert expected in str(caught.value)


# ---- while weights load ------------------------------------------------------------------------------------------


def test_scale_factors_of_weights_on_blackwell(resolve: Resolve) -> None:
    """One kernel for each ceil(k / 128); nothing on Hopper."""

    def columns(model: str, **setting: Any) -> set[Any]:
        calls = resolve(model, "sglang", **setting)
        return {site.shape["columns"] for site in calls.sites if site.kernel_type.startswith("get_mn_major")}

    spread: dict[str, Any] = {"tp": 8, "dp": 8, "a2a": "deepep"}
    assert columns("deepseek-v3.2", target="b200", **spread) == {56, 12, 4, 128, 18, 16}
    assert columns("qwen3-32b-fp8", target="b200", tp=4) == {40, 16, 50}
    assert columns("deepseek-v3.2", **spread) == set()
    vllm = resolve("qwen3-32b-fp8", "vllm", "b200", tp=4)
    found = [dict(site.shape) for site in vllm.sites if site.kernel_type == "transform_sf_into_required_layout"]
    assert found == [{"k": k, "rows_per_scale": 128, "columns_per_scale": 128} for k in (5120, 2048, 6400)]
    fp4 = resolve("deepseek-v4-flash", "sglang", "b200", **spread)
    assert {"k": 2048, "rows_per_scale": 1, "columns_per_scale": 32} in [dict(site.shape) for site in fp4.sites]


# ---- families ----------------------------------------------------------------------------------------------------


def test_step_has_other_heads_in_sliding_layers(resolve: Resolve, changed: Change) -> None:
    calls = resolve("step-3.7-flash-fp8", "sglang", tp=8, a2a="deepep")
    assert shape(calls, "qkv_proj") == {"n": (8 + 2) * 128, "k": 4096}
    assert shape(calls, "sliding-window qkv_proj") == {"n": (12 + 2) * 128, "k": 4096}
    every = changed("step-3.7-flash-fp8", moe_layers_enum=list(range(45)))
    assert labelled(resolve(every, "sglang", tp=8, a2a="deepep"), "dense down_proj") == []


@pytest.mark.parametrize(
    ("architecture", "model"),
    [
        ("Qwen3VLForConditionalGeneration", "qwen3-32b-fp8"),
        ("Qwen3VLMoeForConditionalGeneration", "qwen3-235b-a22b-fp8"),
        ("Qwen3_5ForCausalLM", "qwen3.5-9b-fp8"),
        ("Qwen3_5MoeForCausalLM", "qwen3.5-35b-a3b-fp8"),
        ("MiMoV2ForCausalLM", "mimo-v2-flash"),
        ("Step3p5ForCausalLM", "step-3.7-flash-fp8"),
        ("KimiK25ForConditionalGeneration", "kimi-k2-instruct"),
    ],
)
def test_other_classes_of_the_same_layers(resolve: Resolve, changed: Change, architecture: str, model: str) -> None:
    config = evolve(changed(model), architecture=architecture)
    assert shape(
        resolve(config, "sglang", tp=4, a2a="deepep"), "o_proj" if "MiMo" not in architecture else "full o_proj"
    )


GLM = {
    "architectures": ["Glm4MoeForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 10944,
    "num_hidden_layers": 46,
    "num_attention_heads": 96,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "moe_intermediate_size": 1408,
    "num_experts_per_tok": 8,
    "n_shared_experts": 1,
    "n_routed_experts": 128,
    "first_k_dense_replace": 1,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
}


def test_glm_and_ling(resolve: Resolve) -> None:
    glm = resolve(parse_config(GLM), "sglang", tp=1)
    assert shape(glm, "qkv_proj") == {"n": (96 + 16) * 128, "k": 4096}
    assert shape(glm, "shared expert down_proj") == {"n": 4096, "k": 1408}
    ling = {key: value for key, value in GLM.items() if key not in ("n_routed_experts", "n_shared_experts")}
    ling.update(
        architectures=["BailingMoeV2ForCausalLM"], num_experts=256, num_shared_experts=1, intermediate_size=5120
    )
    calls = resolve(parse_config(ling), "sglang", tp=4, a2a="deepep")
    assert shape(calls, "query_key_value") == {"n": (24 + 4) * 128, "k": 4096}
    assert shape(calls, "dense") == {"n": 4096, "k": 24 * 128}


def test_null_values(resolve: Resolve, changed: Change) -> None:
    """``null`` has the meaning that the engines give it; a key that is not there is an error."""
    config = changed("deepseek-v3", q_lora_rank=None)
    calls = resolve(config, "sglang", tp=8)
    assert shape(calls, "q_proj") == {"n": 128 * 192 // 8, "k": 7168}
    assert shape(calls, "kv_a_proj_with_mqa") == {"n": 576, "k": 7168}
    assert labelled(calls, "q_b_proj") == labelled(calls, "fused_qkv_a_proj") == []
    dense = changed("qwen3-32b-fp8", num_key_value_heads=None, head_dim=None)
    assert shape(resolve(dense, "sglang", tp=4), "qkv_proj")["n"] == 3 * (64 // 4) * (5120 // 64)


@pytest.mark.parametrize("model", ["deepseek-v3", "qwen3-235b-a22b-fp8", "minimax-m2.5"])
def test_keys_of_the_number_of_experts(resolve: Resolve, config_path: Callable[[str], Path], model: str) -> None:
    data = json.loads(config_path(model).read_text(encoding="utf-8"))
    number = next(data.pop(key) for key in ("n_routed_experts", "num_experts", "num_local_experts") if key in data)
    setting: dict[str, Any] = {"tp": 8, "a2a": "deepep"}
    expected = resolve(model, "sglang", **setting).values["E"]
    for key in ("n_routed_experts", "num_experts", "num_local_experts"):
        assert resolve(parse_config({**data, key: number}), "sglang", **setting).values["E"] == expected


def test_two_families_of_one_architecture(families: tuple[Family, ...]) -> None:
    twin = evolve(families[0], name="twin")
    with pytest.raises(InputError) as caught:
        find_family(twin.architectures[0], (*families, twin))
    assert f"families {families[0].name!r} and 'twin' both claim the architecture" in str(caught.value)


#: Configs of every family, at settings that reach its special calls.
REACHES: list[dict[str, Any]] = [
    {"tp": 8},
    {"tp": 8, "dp": 8, "a2a": "deepep", "two_batch_overlap": True, "speculative_tokens": 4},
    {"tp": 8, "a2a": "megamoe"},
    {"tp": 8, "a2a": "deepep", "single_batch_overlap": True, "pp": 2},
]
VLLM_REACHES: list[dict[str, Any]] = [
    {"tp": 4, "speculative_tokens": 1},
    {"dp": 8, "ep": 8, "moe_runner": "deep_gemm", "two_batch_overlap": True},
    {"dp": 8, "ep": 8, "a2a": "deepep_low_latency"},
]
MODELS = (
    "deepseek-v3",
    "deepseek-v3.2",
    "glm-5-fp8",
    "deepseek-v4-flash",
    "deepseek-v4-flash-fp8",
    "kimi-k2-instruct",
    "longcat-flash",
    "mimo-v2-flash",
    "minimax-m2.5",
    "qwen3-235b-a22b-fp8",
    "qwen3-32b-fp8",
    "qwen3-next-80b-a3b-fp8",
    "qwen3.5-9b-fp8",
    "qwen3.5-35b-a3b-fp8",
    "step-3",
    "step-3.7-flash-fp8",
)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("target", ["h100", "b200"])
def test_every_call_has_a_kernel_type(
    installed: Registry, families: tuple[Family, ...], config_path: Callable[[str], Path], model: str, target: str
) -> None:
    """No family emits a kernel type or shape that the plugins of this repository do not take."""
    config = read_config(config_path(model))
    for engine, settings in (("sglang", REACHES), ("vllm", VLLM_REACHES)):
        for setting in settings:
            calls = model_calls(config, Deployment(engine, get_target(target), **setting), installed, families)
            missing = [f"{site.label}: {site.reason}" for site in calls.with_verdict(LayerVerdict.NO_KERNEL_TYPE)]
            assert missing == [], setting


# ---- thresholds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["deepseek-v3", "kimi-k2-instruct"])
def test_a_threshold_is_in_the_manifest(resolve: Resolve, installed: Registry, name: str) -> None:
    """A layer that runs in some steps only says in which, beside its range."""
    calls = resolve(name, "vllm", tp=8)
    text = " ".join(render(calls, installed, name="m").replace("#", " ").split())
    assert "fewer than 32 rows on sm90" in text
    assert "or with one of 8,192 tokens in all" in text
