"""Starts of vLLM's own engine core and worker on the stub GPU, one process each: see whole_vllm.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from on_stub import environment

from kregistry.rehearsal.vllm import ENVIRONMENT

TESTS = Path(__file__).parents[1]
CONFIG = TESTS / "data" / "rehearsal" / "configs" / "deepseek-v3" / "config.json"
ARGUMENTS = "--moe-backend deep_gemm --max-model-len 8704 --max-num-batched-tokens 4096 --max-num-seqs 32"
#: One process, as in a rehearsal, though with kregistry.
ONE_PROCESS = {name: value for name, value in ENVIRONMENT.items() if name != "KREGISTRY_VLLM"}


class VllmStarts:
    """Starts vLLM with DeepSeek-V3 cut to 2 layers, with stores and caches of its own.

    Args:
        home: an empty directory for the model, stores and caches.
        compiler: stands in for nvcc, e.g. to copy a real cubin.
    """

    def __init__(self, home: Path, compiler: Path) -> None:
        self._home, self._compiler = home, compiler
        config = {**json.loads(CONFIG.read_text()), "num_hidden_layers": 2, "first_k_dense_replace": 1}
        config.pop("auto_map", None)
        (home / "deepseek-v3").mkdir()
        (home / "deepseek-v3" / "config.json").write_text(json.dumps({**config, "num_nextn_predict_layers": 0}))

    def start(self, cache: str, warmup: str, **extra: str) -> dict[str, Any]:
        """What ``whole_vllm.py`` answers, and its output as ``text``.

        Args:
            cache: starts with the same name share their store and JIT cache.
            warmup: ``VLLM_DEEP_GEMM_WARMUP``.
            extra: more variables.
        """
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
