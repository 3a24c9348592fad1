"""DeepSeek sparse attention: the calls of the indexer beside its products, as each engine makes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from kregistry import Registry, make_plan
from kregistry.hf_config.call_site import CallSite, LayerVerdict
from kregistry.hf_config.manifest_text import parse, render
from kregistry.hf_config.resolve import ModelCalls

Resolve = Callable[..., ModelCalls]
SCHEDULE = "get_paged_mqa_logits_metadata"
DSA = ("deepseek-v3.2", "glm-5-fp8")
V4 = ("deepseek-v4-flash-fp8", "deepseek-v4-pro-fp8")


def calls_of(calls: ModelCalls, kernel_type: str) -> list[CallSite]:
    """The calls of a kernel type that go to DeepGEMM."""
    return [each for each in calls.with_verdict(LayerVerdict.DEEP_GEMM) if each.kernel_type == kernel_type]


def shapes(calls: ModelCalls, kernel_type: str) -> list[dict[str, Any]]:
    return [dict(each.shape) for each in calls_of(calls, kernel_type)]


def stop(site: CallSite) -> int:
    assert site.rows is not None
    return site.rows.stop


@pytest.mark.parametrize("model", DSA)
@pytest.mark.parametrize(
    ("engine", "target"), [("sglang", "h100"), ("sglang", "b200"), ("vllm", "h100"), ("vllm", "b200")]
)
def test_the_schedule_before_each_decode_step(resolve: Resolve, model: str, engine: str, target: str) -> None:
    calls = resolve(model, engine, target, tp=8)
    [site] = calls_of(calls, SCHEDULE)
    indices = {"indices": True} if (engine, target) == ("vllm", "b200") else {}
    assert dict(site.shape) == {"next_n": 1, **indices}
    assert stop(site) == (512 if engine == "sglang" else 1024)
    assert stop(calls_of(resolve(model, engine, target, tp=8, max_requests=64), SCHEDULE)[0]) == 64


@pytest.mark.parametrize(("target", "half"), [("h100", 72), ("h200", 72), ("b200", 80)])
def test_half_of_the_sms_in_a_captured_decode_step(resolve: Resolve, target: str, half: int) -> None:
    """V3.2 computes queries and keys on two streams; GLM-5 fuses the keys and uses every SM."""
    [site] = [
        each
        for each in resolve("deepseek-v3.2", "sglang", target, tp=8).sites
        if each.label == "indexer wq_b, captured decode"
    ]
    assert (site.verdict, dict(site.shape)) == (LayerVerdict.DEEP_GEMM, {"n": 8192, "k": 1536, "num_sms": half})
    assert site.rows is not None and (site.rows.start or 1, site.rows.stop) == (1, 1024)
    for model, engine in (("glm-5-fp8", "sglang"), ("deepseek-v3.2", "vllm")):
        calls = resolve(model, engine, target, tp=8)
        assert not [each for each in calls.sites if "captured" in each.label]


@pytest.mark.parametrize("model", DSA)
def test_logits_of_a_prefill(resolve: Resolve, model: str) -> None:
    """All keys in SGLang, with 32 heads at least; compressed ones in vLLM, on Blackwell in MXFP8 and BF16."""
    heads = {"deepseek-v3.2": 64, "glm-5-fp8": 32}[model]
    both = {"num_heads": heads, "head_dim": 128}
    assert shapes(resolve(model, "sglang", tp=8), "fp8_mqa_logits") == [both]
    assert shapes(resolve(model, "vllm", tp=8), "fp8_fp4_mqa_logits") == [{**both, "logits": "compressed"}]
    bf16 = {"weights_dtype": "bfloat16", "logits_dtype": "bfloat16"}
    blackwell = resolve(model, "vllm", "b200", tp=8)
    assert shapes(blackwell, "mxfp8_mqa_logits") == [{**both, **bf16, "logits": "compressed"}]
    assert shapes(blackwell, "mxfp8_paged_mqa_logits") == [{**both, **bf16, "next_n": 1, "indices": True}]


@pytest.mark.parametrize("model", V4)
@pytest.mark.parametrize("target", ["h100", "b200"])
def test_deepseek_v4_prefers_pages(resolve: Resolve, model: str, target: str) -> None:
    """SGLang asks for contiguous logits from 8192 tokens of one request on; its schedule is a kernel of its own."""
    calls = resolve(model, "sglang", target, tp=8)
    [long] = calls_of(calls, "fp8_mqa_logits")
    assert dict(long.shape) == {"num_heads": 64, "head_dim": 128, "logits": "compressed"}
    assert long.rows is not None and long.rows.start == 8192 <= long.rows.stop
    [paged] = calls_of(calls, "fp8_paged_mqa_logits")
    assert stop(paged) >= 8192
    assert calls_of(calls, SCHEDULE) == []
    # 1024 or 2048 tokens of a step never reach the threshold.
    spread = resolve(model, "sglang", target, tp=8, dp=8, a2a="deepep")
    [site] = [each for each in spread.sites if each.label == "indexer logits, long prefill"]
    assert (site.verdict, site.rule) == (LayerVerdict.NOT_REACHED, "threshold")
    assert len(calls_of(resolve(model, "vllm", target, tp=8), SCHEDULE)) == 1


@pytest.mark.parametrize("model", DSA)
def test_speculative_tokens(resolve: Resolve, model: str) -> None:
    """SGLang shares a row between the tokens of a request on Blackwell, vLLM on Hopper where there are 2 or 4."""

    def rows(engine: str, target: str, tokens: int, kernel_type: str) -> dict[Any, int]:
        calls = resolve(model, engine, target, tp=8, speculative_tokens=tokens)
        return {site.shape["next_n"]: stop(site) for site in calls_of(calls, kernel_type)}

    assert rows("sglang", "b200", 4, SCHEDULE) == {1: 2048, 4: 512}
    assert rows("sglang", "b200", 4, "fp8_paged_mqa_logits") == {1: 2048, 4: 512}
    assert rows("sglang", "h100", 4, "fp8_paged_mqa_logits") == {1: 2048}
    assert rows("vllm", "b200", 3, "mxfp8_paged_mqa_logits") == {1: 4096}
    assert rows("vllm", "h100", 1, "fp8_fp4_paged_mqa_logits") == {1: 2048, 2: 1024}
    assert rows("vllm", "h100", 2, "fp8_fp4_paged_mqa_logits") == {1: 3072}


@pytest.mark.stub
def test_four_tokens_of_vllm_need_its_own_deep_gemm(resolve: Resolve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of SMs compute four tokens. DeepGEMM 0.x has no such kernel: the call is listed with the reason."""
    calls = resolve("deepseek-v3.2", "vllm", tp=8, speculative_tokens=3)
    [schedule] = [site for site in calls.sites if site.label == "indexer schedule, 4 tokens"]
    assert dict(schedule.shape) == {"next_n": 4, "num_sms": 66}
    [logits] = [site for site in calls.sites if site.label == "indexer logits, decode, 4 tokens"]
    assert logits.verdict is LayerVerdict.NO_KERNEL_TYPE and "expected 1 or 2 on sm90" in logits.reason
    monkeypatch.setattr("kregistry_plugins.installed.is_sglangs", lambda: False)
    [logits] = calls_of(resolve("deepseek-v3.2", "vllm", tp=8, speculative_tokens=3), "fp8_fp4_paged_mqa_logits")[2:]
    assert logits.shape["next_n"] == 4


@pytest.mark.parametrize("model", DSA)
def test_a_pipeline_stage_leaves_an_sm_to_the_next_batch(resolve: Resolve, model: str) -> None:
    found = shapes(resolve(model, "sglang", tp=8, pp=2), "fp8_mqa_logits")
    assert [shape.get("num_sms") for shape in found] == [None, 131]
    assert len(shapes(resolve(model, "vllm", tp=8, pp=2), "fp8_fp4_mqa_logits")) == 1


@pytest.mark.stub
def test_kernels(resolve: Resolve, installed: Registry, stub_directory: Path) -> None:
    """The schedule has a kernel for each 32 requests on Hopper; six of seven kernels with half of the SMs are new."""

    def kernels(target: str, label: str, stop: int) -> set[str]:
        calls = resolve("deepseek-v3.2", "sglang", target, tp=8)
        text = render(calls, installed, name="model", stops={label: stop})
        manifest = parse(text, installed, "kernels.yaml", calls.deployment.target)
        [entry] = [each for each in manifest.entries if each.label == label]
        plan = make_plan(evolve(manifest, entries=(entry,)), installed, stub_directory=stub_directory)
        assert plan.problems() == ()
        return set(plan.kernels)

    assert len(kernels("h100", "indexer schedule", 512)) == 16
    assert len(kernels("b200", "indexer schedule", 512)) == 1
    captured = kernels("h100", "indexer wq_b, captured decode", 1024)
    assert (len(captured), len(captured - kernels("h100", "indexer wq_b", 1024))) == (7, 6)
