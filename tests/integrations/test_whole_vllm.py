"""vLLM's own engine core and worker, whole, with kregistry as its plugin, on the stub GPU: cold and warm starts.

vLLM's own warm-ups run beside it, kregistry off: what they compile is what kregistry has to have ready.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from compilers import slow_toolkit
from engine_on_stub import need
from on_stub import environment

from kregistry.rehearsal.vllm import ENVIRONMENT
from kregistry.toolchain import Toolchain

pytestmark = pytest.mark.engines

TESTS = Path(__file__).parents[1]
CONFIG = TESTS / "data" / "rehearsal" / "configs" / "deepseek-v3" / "config.json"
ARGUMENTS = "--moe-backend deep_gemm --max-model-len 8704 --max-num-batched-tokens 4096 --max-num-seqs 32"
#: One process, as in a rehearsal, though with kregistry.
ONE_PROCESS = {name: value for name, value in ENVIRONMENT.items() if name != "KREGISTRY_VLLM"}

#: The first names of the two functions that the model calls, in DeepGEMM 0.2 and 0.1.
CALLED = (
    {"fp4_gemm_nt", "m_grouped_fp4_gemm_nt_contiguous"},
    {"fp8_fp4_gemm_nt", "m_grouped_fp8_fp4_gemm_nt_contiguous"},
)


class Servers:
    """Starts vLLM with stores and caches of its own; the compiler copies a real cubin."""

    def __init__(self, home: Path, compiler: Path) -> None:
        self._home, self._compiler = home, compiler
        config = {**json.loads(CONFIG.read_text()), "num_hidden_layers": 2, "first_k_dense_replace": 1}
        config.pop("auto_map", None)
        (home / "deepseek-v3").mkdir()
        (home / "deepseek-v3" / "config.json").write_text(json.dumps({**config, "num_nextn_predict_layers": 0}))

    def start(self, cache: str, warmup: str, **extra: str) -> dict[str, Any]:
        """What ``whole_vllm.py`` answers, and its output as ``text``."""
        place = self._home / cache
        variables = {
            "KREGISTRY_STORE": str(place / "store"),
            "XDG_CACHE_HOME": str(self._home / "xdg"),
            "VLLM_CACHE_ROOT": str(self._home / "vllm"),
            "DG_JIT_CACHE_DIR": str(place / "jit"),
            "KREGISTRY_NVCC": str(self._compiler),
            "KREGISTRY_STUB_COUNT_MEMORY": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            **ONE_PROCESS,
            "VLLM_DEEP_GEMM_WARMUP": warmup,
            **extra,
        }
        script = TESTS / "support" / "whole_vllm.py"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(script), str(self._home / "deepseek-v3"), *ARGUMENTS.split()],
            env=environment(self._home, "h200", **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=880,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
        assert len(lines) == 1, done.stdout[-6000:]
        return {**json.loads(lines[0].removeprefix("ANSWER ")), "text": done.stdout}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, toolchain: Toolchain, cubin: bytes) -> Servers:
    need("vllm")
    home = tmp_path_factory.mktemp("vllm")
    return Servers(home, slow_toolkit(home / "cuda", toolchain, cubin, 0) / "bin" / "nvcc")


@pytest.fixture(scope="module")
def cold(servers: Servers) -> dict[str, Any]:
    """kregistry's first start, with vLLM's default."""
    return servers.start("ours", "relax")


def ready_lines(text: str) -> list[tuple[int, int]]:
    """(kernels, how many of them were built) of each warm-up that the log shows."""
    found = re.findall(r"kregistry: (\d+) kernels of \d+ call sites ready, (\d+) built", text)
    return [(int(kernels), int(built)) for kernels, built in found]


def test_a_cold_and_a_warm_start_compile_nothing_once_they_serve(servers: Servers, cold: dict[str, Any]) -> None:
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
def test_what_vllm_alone_compiles_is_what_we_have_ready(servers: Servers, cold: dict[str, Any], warmup: str) -> None:
    """Its own warm-up makes more, which its model does not call: few rows, where FlashInfer takes them, and experts
    without the psum layout."""
    own = servers.start(f"own-{warmup}", warmup, KREGISTRY="0")
    assert own["start"] == {} and own["before"] != []
    assert set(own["live"]) <= set(cold["kernels"])
