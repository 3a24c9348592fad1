"""Rules of the engines that the tables do not show: MoE runners, fusion, ranges, archs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kregistry.hf_config.call_site import CallSite, LayerVerdict, Rows
from kregistry.hf_config.config import read_config
from kregistry.hf_config.resolve import ModelCalls

Resolve = Callable[..., ModelCalls]


def site(calls: ModelCalls, label: str) -> CallSite:
    [found] = [each for each in calls.sites if each.label == label]
    return found


def rows(calls: ModelCalls, label: str) -> Rows:
    found = site(calls, label).rows
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("target", "setting", "runner"),
    [
        ("h100", {"tp": 8}, "triton"),
        ("b200", {"tp": 8}, "flashinfer_trtllm"),
        ("h100", {"tp": 8, "ep": 8}, "triton"),
        ("h100", {"tp": 8, "moe_runner": "cutlass"}, "cutlass"),
        ("h100", {"tp": 8, "a2a": "flashinfer"}, "flashinfer"),
    ],
)
def test_sglang_moe_runner(resolve: Resolve, target: str, setting: dict[str, Any], runner: str) -> None:
    w13 = site(resolve("deepseek-v3", "sglang", target, **setting), "experts w13")
    assert w13.rule == "runner"
    assert w13.reason.startswith(f"the MoE runner is {runner} ")


@pytest.mark.parametrize("a2a", ["deepep", "mooncake", "nixl", "pplx", "deepep_v2"])
def test_sglang_a2a_with_deep_gemm(resolve: Resolve, a2a: str) -> None:
    calls = resolve("deepseek-v3", "sglang", "b200", tp=8, a2a=a2a)
    assert site(calls, "experts w13 (masked)").verdict is LayerVerdict.DEEP_GEMM
    assert dict(site(calls, "shared expert gate_up_proj").shape) == {"n": 4096, "k": 7168}


def test_sglang_fusion(resolve: Resolve) -> None:
    """257 experts by default on h100; never with expert parallelism, other models, or the runner of b200."""

    def groups(config: str, target: str = "h100", **setting: Any) -> object:
        calls = resolve(config, "sglang", target, tp=8, **setting)
        return next(each for each in calls.sites if each.label.startswith("experts w13")).shape["num_groups"]

    assert groups("deepseek-v3") == 257
    assert groups("glm-5-fp8") == 257
    assert groups("deepseek-v3", shared_expert_fusion="off") == 256
    assert groups("deepseek-v3", "b200") == 256
    assert groups("deepseek-v3", ep=8) == 32
    assert groups("deepseek-v3.2") == 256
    assert groups("kimi-k2-instruct") == 384
    assert groups("deepseek-v4-flash-fp8") == 256
    assert groups("deepseek-v4-flash-fp8", shared_expert_fusion="on") == 257
    assert groups("deepseek-v3", a2a="deepep", redundant_experts=32) == 36


@pytest.mark.parametrize(
    ("target", "chunked_prefill", "dp", "stop"),
    [
        ("h100", None, 1, 16384),
        ("b200", None, 1, 32768),
        ("b200", None, 8, 16384),
        ("h100", -1, 1, 65536),
        ("h100", 16384, 1, 32768),
        ("h100", 1 << 20, 1, 1 << 20),
        ("h100", 1 << 17, 1, 131072),
    ],
)
def test_sglang_m(resolve: Resolve, target: str, chunked_prefill: int | None, dp: int, stop: int) -> None:
    """update_deep_gemm_config, and never less than a step can hold."""
    calls = resolve("deepseek-v3", "sglang", target, tp=8, dp=dp, chunked_prefill=chunked_prefill)
    assert rows(calls, "o_proj").stop == stop


def test_sglang_gathered_tokens(resolve: Resolve) -> None:
    """A dense MLP that spans the data-parallel ranks computes the tokens of all of them."""
    setting = {"tp": 8, "dp": 8, "a2a": "deepep", "chunked_prefill": 8 * 8192}
    calls = resolve("deepseek-v3", "sglang", **setting)
    assert rows(calls, "o_proj").stop == 16384
    assert rows(calls, "dense down_proj").stop == 8 * 8192
    assert rows(calls, "shared expert down_proj").stop == 16384
    alone = resolve("deepseek-v3", "sglang", moe_dense_tp=1, **setting)
    assert rows(alone, "dense down_proj").stop == 16384
    assert dict(site(alone, "dense gate_up_proj").shape) == {"n": 36864, "k": 7168}


def test_sglang_experts_m(resolve: Resolve) -> None:
    calls = resolve("deepseek-v3", "sglang", tp=8, dp=8, a2a="deepep", max_dispatch_tokens=256)
    assert rows(calls, "experts w13 (masked)").stop == 256 * 8
    # 8192 tokens, each with all of its 8 experts here, and 127 rows of padding for each of 32 experts.
    assert rows(calls, "experts w13 (contiguous)").stop == (8192 * 8 + 32 * 127) // 128 * 128


@pytest.mark.parametrize("target", ["h100", "b200"])
@pytest.mark.parametrize(("model", "tp"), [("deepseek-v3", 4), ("qwen3-235b-a22b-fp8", 2)])
def test_vllm_tells_deepgemm_where_each_group_ends(resolve: Resolve, model: str, tp: int, target: str) -> None:
    """SGLang tells it the group of each row, and low-latency all-to-all has a buffer for each group."""
    calls = resolve(model, "vllm", target, tp=tp, moe_runner="deep_gemm")
    assert site(calls, "experts w13 (contiguous)").shape["use_psum_layout"] is True
    assert site(calls, "experts w2 (contiguous)").shape["use_psum_layout"] is True
    apart = resolve(model, "vllm", target, dp=8, ep=8, a2a="deepep_low_latency")
    assert "use_psum_layout" not in site(apart, "experts w13 (masked)").shape
    other = resolve(model, "sglang", target, tp=tp, moe_runner="deep_gemm")
    contiguous = [each for each in other.sites if each.label == "experts w13 (contiguous)"]
    assert all("use_psum_layout" not in each.shape for each in contiguous)


def test_a_fused_expert_counts_as_a_routed_one(resolve: Resolve) -> None:
    """Nine of 257 experts a token, without an all-to-all backend."""
    calls = resolve("deepseek-v3", "sglang", tp=8, moe_runner="deep_gemm")
    assert rows(calls, "experts w13 (masked)").stop == -(-8192 * 9 // 257)
    assert rows(calls, "experts w13 (contiguous)").stop == (8192 * 9 + 257 * 127) // 128 * 128


def test_h_proj_has_hc_rows_a_token(resolve: Resolve) -> None:
    calls = resolve("deepseek-v4-flash-fp8", "sglang", tp=8, chunked_prefill=8192, speculative_tokens=2)
    assert rows(calls, "NextN e_proj").stop == 16384
    assert rows(calls, "NextN h_proj").stop == 4 * 8192


@pytest.mark.parametrize(
    ("target", "given", "stop"), [("h100", None, 8192), ("b200", None, 16384), ("h100", 2048, 2048)]
)
def test_vllm_m(resolve: Resolve, target: str, given: int | None, stop: int) -> None:
    calls = resolve("deepseek-v3", "vllm", target, tp=8, max_batched_tokens=given)
    assert rows(calls, "o_proj").stop == stop


def test_vllm_experts(resolve: Resolve) -> None:
    """On sm90, DeepGEMM only when asked for; scale factors are powers of two, so also for few columns; one layout."""
    assert site(resolve("deepseek-v3", "vllm", dp=8, ep=8), "experts w13").rule == "runner"
    for target in ("h100", "b200"):
        small = resolve("deepseek-v3", "vllm", target, tp=4, moe_runner="deep_gemm")
        assert small.values["moe_tp"] == 4
        assert site(small, "experts w13 (contiguous)").verdict is LayerVerdict.DEEP_GEMM
    low_latency = resolve("deepseek-v3", "vllm", dp=8, ep=8, moe_runner="deep_gemm", a2a="deepep_low_latency")
    assert rows(low_latency, "experts w13 (masked)") == Rows(
        2048, rows(low_latency, "experts w13 (masked)").rule, 16, 16
    )
    assert not [each for each in low_latency.sites if "contiguous" in each.label]


def test_vllm_sequence_parallel(resolve: Resolve) -> None:
    """Shared experts are whole on every rank where the MoE is sequence parallel."""
    split = resolve("deepseek-v3", "vllm", tp=8, ep=8)
    whole = resolve("deepseek-v3", "vllm", tp=4, dp=2, ep=8)
    assert dict(site(split, "shared expert down_proj").shape) == {"n": 7168, "k": 256}
    assert dict(site(whole, "shared expert down_proj").shape) == {"n": 7168, "k": 2048}


def test_fp4_experts(resolve: Resolve) -> None:
    """The native checkpoint of DeepSeek-V4: FP4 experts on sm100 only."""
    hopper = resolve("deepseek-v4-flash", "sglang", tp=8, a2a="deepep")
    assert site(hopper, "experts w13").rule == "arch"
    blackwell = resolve("deepseek-v4-flash", "sglang", "b200", tp=8, a2a="deepep")
    assert site(blackwell, "experts w13 (masked)").kernel_type == "m_grouped_fp8_fp4_gemm_nt_masked"
    assert site(resolve("deepseek-v4-flash", "sglang", tp=8), "experts w13").reason.startswith(
        "the MoE runner is flashinfer_mxfp4"
    )


def test_wo_a_depends_on_arch_and_engine(resolve: Resolve) -> None:
    assert site(resolve("deepseek-v4-flash-fp8", "sglang", tp=8), "wo_a").rule == "arch"
    for calls in (
        resolve("deepseek-v4-flash-fp8", "sglang", "b200", tp=8),
        resolve("deepseek-v4-flash-fp8", "vllm", tp=8),
    ):
        assert site(calls, "wo_a").verdict in (LayerVerdict.DEEP_GEMM, LayerVerdict.NO_KERNEL_TYPE)


def test_glm_5_fuses_indexer_wk(resolve: Resolve) -> None:
    assert site(resolve("glm-5-fp8", "sglang", tp=8), "indexer wk_weights_proj").verdict is LayerVerdict.NOT_QUANTIZED
    assert site(resolve("deepseek-v3.2", "sglang", tp=8), "indexer wk").verdict is LayerVerdict.DEEP_GEMM


def test_mimo(resolve: Resolve) -> None:
    """n = H/A * head_dim + kv * (head_dim + v_head_dim), KV counts by kind of layer."""
    calls = resolve("mimo-v2-flash", "sglang", tp=8, a2a="deepep")
    assert site(calls, "full qkv_proj").shape["n"] == 8 * 192 + 1 * (192 + 128)
    assert site(resolve("mimo-v2-flash", "sglang", tp=4), "sliding-window qkv_proj").shape["n"] == 16 * 192 + 2 * 320
    assert site(calls, "full o_proj").shape["k"] == 64 * 128 // 8


def test_step3(resolve: Resolve) -> None:
    calls = resolve("step-3", "sglang", tp=8, a2a="deepep")
    assert dict(site(calls, "qkv_proj").shape) == {"n": 2048 + 2 * 256, "k": 7168}
    assert dict(site(calls, "wq").shape) == {"n": 64 * 256 // 8, "k": 2048}


def test_kv_b_proj_counts_key_value_tokens(resolve: Resolve) -> None:
    assert rows(resolve("deepseek-v3", "sglang", tp=8), "kv_b_proj").stop == 128 * 1024
    assert rows(resolve("deepseek-v3", "vllm", tp=8), "kv_b_proj").stop == 64 * 1024


def _transposed(calls: ModelCalls) -> list[tuple[int, int, int]]:
    """Columns, first and last row of the calls that transpose scale factors of activations."""
    return [
        (int(str(site.shape["columns"])), site.rows.start or 0, site.rows.stop)
        for site in calls.sites
        if site.kernel_type == "get_mn_major_tma_aligned_tensor" and site.rows is not None
    ]


@pytest.mark.parametrize(
    ("config", "setting", "expected"),
    [
        ("qwen3-30b-a3b-fp8", {"tp": 2, "moe_runner": "deep_gemm"}, [(16, 256, 8448)]),
        ("qwen3-235b-a22b-fp8", {"tp": 8, "ep": 8, "moe_runner": "deep_gemm"}, [(32, 256, 8448)]),
        ("qwen3-30b-a3b-fp8", {"tp": 1}, []),  # Triton's experts
        ("deepseek-v3", {"tp": 8, "dp": 8, "a2a": "deepep"}, []),  # in DeepGEMM's layout when they come
    ],
)
def test_sglang_transposes_scale_factors_for_the_masked_layout(
    resolve: Resolve, config: str, setting: dict[str, Any], expected: list[tuple[int, int, int]]
) -> None:
    """On Hopper, where they are as many as tokens; as the rehearsals of tests/data/rehearsal/witnesses.yaml saw."""
    assert _transposed(resolve(config, "sglang", **setting)) == expected
    assert _transposed(resolve(config, "sglang", "b200", **setting)) == []
    assert _transposed(resolve(config, "vllm", **{key: setting[key] for key in ("tp",)})) == []


def test_a_clamped_activation_leaves_its_scale_factors_row_by_row(
    resolve: Resolve, config_path: Callable[[str], Path], tmp_path: Path
) -> None:
    """DeepSeek-V4 with FP8 experts: those of w2, also with DeepEP."""
    values = json.loads(config_path("deepseek-v4-flash-fp8").read_text())
    clamped = tmp_path / "config.json"
    clamped.write_text(json.dumps({**values, "swiglu_limit": 10.0}))
    model = read_config(clamped)
    assert _transposed(resolve(model, "sglang", tp=8, dp=8, a2a="deepep")) == [(16, 1024, 1024)]
    assert _transposed(resolve(model, "sglang", tp=8, ep=8, moe_runner="deep_gemm")) == [
        (32, 256, 8448),
        (16, 256, 8448),
    ]
