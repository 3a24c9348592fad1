"""Shapes that real servers printed (tests/data/models/logs.json): each is a call site of that model and setting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import frozen

from kregistry.hf_config.call_site import CallSite, LayerVerdict
from kregistry.hf_config.resolve import ModelCalls


@frozen
class Server:
    """The command line of a log, as a setting."""

    config: str
    engine: str
    setting: dict[str, Any]


SERVERS = {
    # --tp 2 --ep 2 --moe-a2a-backend deepep --chunked-prefill-size -1
    "GT1": Server("deepseek-v3", "sglang", {"tp": 2, "ep": 2, "a2a": "deepep", "chunked_prefill": -1}),
    # --dp-size 8 --tp-size 16 --enable-dp-attention
    "GT2": Server("deepseek-r1", "sglang", {"tp": 16, "dp": 8, "moe_dense_tp": None}),
    # ep 8 over DeepEP, BF16 experts of the NextN layer
    "GT7": Server("qwen3.5-397b-a17b-bf16", "sglang", {"tp": 8, "a2a": "deepep"}),
    # -dp 8 --enable-expert-parallel, a version that preferred DeepGEMM
    "GT10": Server("deepseek-v3.2", "vllm", {"dp": 8, "ep": 8, "moe_runner": "deep_gemm"}),
    # expert parallel over 8, DeepGEMM MoE
    "GT12": Server("qwen3-235b-a22b-fp8", "sglang", {"tp": 8, "a2a": "deepep"}),
    # one GPU, BF16 experts on DeepGEMM
    "GT13": Server("qwen3-30b-a3b-bf16", "sglang", {"moe_runner": "deep_gemm", "chunked_prefill": -1}),
    # TP 4, the same linear layers on another GPU
    "GT15": Server("glm-5-fp8", "sglang", {"tp": 4}),
}
KERNEL_TYPES = {
    "GEMM_NT_F8F8BF16": "fp8_gemm_nt",
    "gemm_fp8_fp8_bf16_nt": "fp8_gemm_nt",
    "fp8_gemm_nt": "fp8_gemm_nt",
    "gemm": "fp8_gemm_nt",
    "GROUPED_GEMM_NT_BF16_MASKED": "m_grouped_bf16_gemm_nt_masked",
    "m_grouped_gemm_fp8_fp8_bf16_nt_masked": "m_grouped_fp8_gemm_nt_masked",
    "m_grouped_fp8_gemm_nt_contiguous": "m_grouped_fp8_gemm_nt_contiguous",
}


def printed(calls: ModelCalls, shape: dict[str, Any]) -> CallSite:
    """The call site of a printed shape."""
    wanted = {name: value for name, value in shape.items() if name != "name"}
    kernel_type = KERNEL_TYPES[shape["name"]]
    sites = [site for site in calls.sites if site.kernel_type == kernel_type]
    found = [site for site in sites if sizes(site) == wanted]
    assert found, f"{shape} is none of {[sizes(site) for site in sites]}"
    return found[0]


def sizes(site: CallSite) -> dict[str, Any]:
    """A shape as servers print it: DeepGEMM had no psum layout when these logs were written."""
    return {name: value for name, value in site.shape.items() if name != "use_psum_layout"}


@pytest.mark.parametrize("log", SERVERS)
def test_a_server_printed_it(log: str, load_data: Callable[[str], Any], resolve: Callable[..., ModelCalls]) -> None:
    [entry] = [each for each in load_data("logs.json")["logs"] if each["id"] == log]
    server = SERVERS[log]
    calls = resolve(server.config, server.engine, **server.setting)
    for shape in entry["shapes"]:
        site = printed(calls, shape)
        # BF16 groups are in the manifest once a plugin provides their kernel type, and are named as missing until then.
        expected = {LayerVerdict.DEEP_GEMM} | ({LayerVerdict.NO_KERNEL_TYPE} if "bf16" in site.kernel_type else set())
        assert site.verdict in expected


def test_the_range_of_a_log(resolve: Callable[..., ModelCalls]) -> None:
    """GT1 warmed 65536 values; GT2 said that chunked prefill is adjusted to 1024; GT10 had 2080 grouped steps."""
    gt1, gt2, gt10 = (SERVERS[name] for name in ("GT1", "GT2", "GT10"))
    rows = {site.label: site.rows for site in resolve(gt1.config, gt1.engine, **gt1.setting).sites}
    assert rows["o_proj"] is not None and rows["o_proj"].stop == 65536
    rows = {site.label: site.rows for site in resolve(gt2.config, gt2.engine, **gt2.setting).sites}
    assert rows["o_proj"] is not None and rows["o_proj"].rule == "update_deep_gemm_config at chunked prefill 1024"
    # That version bounded tokens * dp by 32768: the same as 4096 tokens on each of 8 ranks.
    calls = resolve(gt10.config, gt10.engine, max_batched_tokens=4096, **gt10.setting)
    [w13] = [site for site in calls.sites if site.label == "experts w13 (contiguous)"]
    assert w13.rows is not None and len(range(w13.rows.start or 0, w13.rows.stop + 1, w13.rows.step or 1)) == 2080


@pytest.mark.parametrize("log", ["GT1", "GT2", "GT10", "GT12"])
def test_no_dense_shape_is_unexplained(log: str, resolve: Callable[..., ModelCalls]) -> None:
    """Every dense shape that is emitted carries the formula that it came from."""
    server = SERVERS[log]
    for site in resolve(server.config, server.engine, **server.setting).with_verdict(LayerVerdict.DEEP_GEMM):
        assert site.formula.startswith(("n = ", "num_groups = ", "num_heads = ", "next_n = "))
        assert all(f"= {value}" in site.formula for value in site.shape.values())
