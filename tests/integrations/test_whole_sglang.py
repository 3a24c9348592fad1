"""SGLang's own scheduler, whole, with kregistry as its plugin, on the stub GPU: the end of the watch, several ranks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from compilers import slow_toolkit
from engine_on_stub import need
from on_stub import environment

from kregistry.toolchain import Toolchain

pytestmark = pytest.mark.engines

TESTS = Path(__file__).parents[1]
CONFIGS = TESTS / "data" / "rehearsal" / "configs"


class Place:
    """A store, caches and a compiler of their own; the compiler copies a real cubin, after some seconds."""

    def __init__(self, home: Path, toolchain: Toolchain, cubin: bytes) -> None:
        self.home = home
        self._toolchain, self._cubin = toolchain, cubin

    def run(self, script: str, head: str, *arguments: str, seconds: float = 0) -> dict[str, Any]:
        """What a script printed behind a word; its output if it printed nothing."""
        compiler = slow_toolkit(self.home / "cuda", self._toolchain, self._cubin, seconds) / "bin" / "nvcc"
        cache = str(self.home / "cache")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(TESTS / "support" / script), *arguments],
            env=environment(
                self.home,
                "h200",
                KREGISTRY_STORE=str(self.home / "store"),
                XDG_CACHE_HOME=str(self.home / "xdg"),
                SGLANG_DG_CACHE_DIR=cache,
                DG_JIT_CACHE_DIR=cache,
                KREGISTRY_NVCC=str(compiler),
                FLASHINFER_USE_CUDA_NORM="1",
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=880,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith(head)]
        assert len(lines) == 1, done.stdout[-6000:]
        answer: dict[str, Any] = json.loads(lines[0].removeprefix(head))
        return answer


@pytest.fixture
def place(tmp_path: Path, toolchain: Toolchain, cubin: bytes) -> Place:
    need("sglang")
    return Place(tmp_path, toolchain, cubin)


def test_every_function_of_v3_2_is_planned_before_it_is_ready_and_nothing_is_compiled_live(place: Place) -> None:
    """All 61 layers, with the real indexer: what is behind a threshold of prompt length comes from the manifest."""
    arguments = [str(CONFIGS / "deepseek-v3.2"), "0", "--tp-size", "8", "--max-running-requests", "64"]
    got = place.run("whole_sglang.py", "ANSWER ", *arguments)
    assert got["before"] == [] and got["live"] == []
    assert got["start"]["state"] == "done" and got["start"]["left_out"] == []
    for called in ("fp8_gemm_nt", "fp8_paged_mqa_logits", "get_paged_mqa_logits_metadata"):
        assert called in got["manifest"] and called not in got["watched_after"]
    assert "fp8_mqa_logits" in got["manifest"]  # only prompts beyond 2,048 tokens call it


@pytest.fixture
def two_layers(tmp_path: Path) -> str:
    config = json.loads((CONFIGS / "qwen3-32b-fp8" / "config.json").read_text())
    directory = tmp_path / "qwen3-two-layers"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    return str(directory)


def test_two_ranks_load_what_was_compiled_once(place: Place, two_layers: str) -> None:
    got = place.run("ranks_of_sglang.py", "RANKS ", two_layers)
    assert got["codes"] == [0, 0], got["texts"]
    assert [[each["before"], each["live"]] for each in got["answers"]] == [[[], []]] * 2
    kernels = got["status"]["kernels"]
    assert got["status"]["built"] == kernels > 0
    for text in got["texts"]:
        assert f"kregistry: {kernels} kernels of 4 call sites ready, 0 built" in text


def test_a_killed_rank_leaves_nobody_waiting(place: Place, two_layers: str) -> None:
    got = place.run("ranks_of_sglang.py", "RANKS ", two_layers, "--kill", "1", seconds=6)
    assert got["codes"] == [0, -9], got["texts"]
    [answer] = got["answers"]
    assert answer["live"] == [] and got["status"]["state"] == "done"
