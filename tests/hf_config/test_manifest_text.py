from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml

from kregistry import Registry
from kregistry.errors import InputError
from kregistry.hf_config.call_site import LayerVerdict
from kregistry.hf_config.compare import compare
from kregistry.hf_config.manifest_text import parse, render
from kregistry.hf_config.resolve import ModelCalls
from kregistry.manifest.model import Manifest

Resolve = Callable[..., ModelCalls]


def manifest(calls: ModelCalls, registry: Registry, **options: object) -> Manifest:
    text = render(calls, registry, name="model", **options)  # type: ignore[arg-type]
    return parse(text, registry, "kernels.yaml", calls.deployment.target)


def test_every_entry_has_label_role_and_formula(resolve: Resolve, installed: Registry) -> None:
    calls = resolve("deepseek-v3.2", "sglang", tp=8, dp=8, a2a="deepep")
    lines = render(calls, installed, name="model").splitlines()
    words = " ".join(line.strip().lstrip("# ") for line in lines)
    for site in calls.with_verdict(LayerVerdict.DEEP_GEMM):
        assert f"label: {site.label}" in words
        assert " ".join(site.role.split()) in words
        assert " ".join(site.formula.split()) in words
    starts = [index for index, line in enumerate(lines) if line.lstrip().startswith("- type:")]
    assert len(starts) == len(calls.with_verdict(LayerVerdict.DEEP_GEMM))
    assert all(lines[start - 1].lstrip().startswith("#") for start in starts)


def test_what_is_left_out_is_named(resolve: Resolve, installed: Registry) -> None:
    calls = resolve("deepseek-v3", "sglang", tp=8)
    text = " ".join(render(calls, installed, name="model").replace("#", " ").split())
    for verdict in (LayerVerdict.OTHER_BACKEND, LayerVerdict.FUSED, LayerVerdict.NOT_QUANTIZED):
        assert calls.with_verdict(verdict)
        for site in calls.with_verdict(verdict):
            assert f"{site.label}" in text
            assert site.reason in text


def test_same_text_every_time(resolve: Resolve, installed: Registry) -> None:
    texts = {render(resolve("glm-5-fp8", "sglang", tp=8), installed, name="model") for _ in range(3)}
    assert len(texts) == 1


def test_lines_are_short(resolve: Resolve, installed: Registry) -> None:
    text = render(resolve("deepseek-v4-pro-fp8", "sglang", tp=8, a2a="deepep"), installed, name="model")
    assert max(map(len, text.splitlines())) <= 120


def test_stops(resolve: Resolve, installed: Registry) -> None:
    """By label before kernel type; the others keep the engine's rule."""
    calls = resolve("deepseek-v3", "sglang", tp=8, a2a="deepep")
    stops = {"o_proj": 100, "m_grouped_fp8_gemm_nt_masked": 200, "experts w2 (masked)": 300}
    found = {entry.label: entry.range.stop for entry in manifest(calls, installed, stops=stops).entries}
    assert (found["o_proj"], found["experts w13 (masked)"], found["experts w2 (masked)"]) == (100, 200, 300)
    assert found["q_b_proj"] == 16384
    with pytest.raises(InputError, match="no entry has the label or kernel type 'o_prj'"):
        render(calls, installed, name="model", stops={"o_prj": 1})


def test_comments_cannot_break_the_file(resolve: Resolve, installed: Registry) -> None:
    """Words of the user end up in comments: no line break, no letter that YAML refuses."""
    calls = resolve("qwen3-32b-fp8", "sglang", tp=4)
    text = render(calls, installed, name="model", command="kregistry init --config 'a\nb\x00\x85c: [.json'")
    assert yaml.safe_load(text)["version"] == 1


def test_refusals_are_one_message(resolve: Resolve, installed: Registry) -> None:
    with pytest.raises(InputError) as caught:
        render(resolve("qwen3-235b-a22b-fp8", "sglang", tp=8), installed, name="model")
    assert caught.value.message.splitlines() == [
        "Qwen3MoeForCausalLM at sglang 0.5.23, tp 8, h100 does not load:",
        "  experts w13, experts w2: sglang refuses to load the model: 192 rows of an expert on this rank "
        "are no multiple of the block's 128",
    ]


def test_compare(resolve: Resolve, installed: Registry) -> None:
    one = manifest(resolve("qwen3-235b-a22b-fp8", "sglang", tp=4), installed).entries
    two = manifest(resolve("qwen3-235b-a22b-fp8", "sglang", tp=8, dp=8, a2a="deepep"), installed).entries
    assert list(compare(one, one)) == []
    lines = list(compare(one, two))
    assert lines[:2] == [
        "~ fp8_gemm_nt qkv_proj: n=2304 k=4096 scales=f32 -> n=9216 k=4096 scales=f32",
        "~ fp8_gemm_nt o_proj: n=4096 k=2048 scales=f32 -> n=4096 k=8192 scales=f32",
    ]
    assert [line[0] for line in lines[2:]] == ["+"] * 4
    assert [line[0] for line in compare(two, one)] == ["~", "~", "-", "-", "-", "-"]
