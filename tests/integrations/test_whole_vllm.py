"""vLLM's own engine core and worker, whole, with kregistry as its plugin, on the stub GPU: cold and warm starts.

vLLM's own warm-ups run beside it, kregistry off: what they compile is what kregistry has to have ready.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from compilers import slow_toolkit
from engine_on_stub import need
from vllm_starts import VllmStarts

from kregistry.toolchain import Toolchain

pytestmark = pytest.mark.engines

#: The first names of the two functions that the model calls, in DeepGEMM 0.2 and 0.1.
CALLED = (
    {"fp4_gemm_nt", "m_grouped_fp4_gemm_nt_contiguous"},
    {"fp8_fp4_gemm_nt", "m_grouped_fp8_fp4_gemm_nt_contiguous"},
)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, toolchain: Toolchain, cubin: bytes) -> VllmStarts:
    need("vllm")
    home = tmp_path_factory.mktemp("vllm")
    return VllmStarts(home, slow_toolkit(home / "cuda", toolchain, cubin, 0) / "bin" / "nvcc")


@pytest.fixture(scope="module")
def cold(servers: VllmStarts) -> dict[str, Any]:
    """kregistry's first start, with vLLM's default."""
    return servers.start("ours", "relax")


def ready_lines(text: str) -> list[tuple[int, int]]:
    """(kernels, how many of them were built) of each warm-up that the log shows."""
    found = re.findall(r"kregistry: (\d+) kernels of \d+ call sites ready, (\d+) built", text)
    return [(int(kernels), int(built)) for kernels, built in found]


def test_a_cold_and_a_warm_start_compile_nothing_once_they_serve(servers: VllmStarts, cold: dict[str, Any]) -> None:
    start = cold["start"]
    assert start["state"] == "done" and start["left_out"] == [] and start["built"] == start["kernels"] > 0
    assert len(cold["kernels"]) == start["kernels"]
    warm = servers.start("ours", "full")
    assert warm["start"]["state"] == "done" and warm["start"]["built"] == 0
    assert warm["kernels"] == cold["kernels"]
    for each in (cold, warm):  # all were built by one process, while weights loaded
        assert each["ready"] and each["before"] == [] and each["live"] == []
        assert ready_lines(each["text"]) == [(start["kernels"], 0)]
        assert "Traceback" not in each["text"] and "DeepGEMM warmup:" not in each["text"]
        called = set(each["watched"]) - set(each["watched_after"])  # they are DeepGEMM's own functions again
        assert called in CALLED


@pytest.mark.parametrize("warmup", ["relax", "full"])
def test_what_vllm_alone_compiles_is_what_we_have_ready(servers: VllmStarts, cold: dict[str, Any], warmup: str) -> None:
    """Its own warm-up makes more, which its model does not call: few rows, where FlashInfer takes them, and experts
    without the psum layout."""
    own = servers.start(f"own-{warmup}", warmup, KREGISTRY="0")
    assert own["start"] == {} and own["before"] != []
    assert set(own["live"]) <= set(cold["kernels"])
