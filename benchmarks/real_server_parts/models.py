"""The models that a server is started with: their config.json, cut to a few layers, and the arguments they need."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).parents[2] / "tests" / "data" / "rehearsal" / "configs"

#: name -> (stored config, what is cut)
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "deepseek-v3": ("deepseek-v3", {"first_k_dense_replace": 1, "num_nextn_predict_layers": 0}),
    "deepseek-v3.2": ("deepseek-v3.2", {"first_k_dense_replace": 1, "num_nextn_predict_layers": 0}),
    "qwen3-30b-a3b": ("qwen3-30b-a3b-fp8", {}),
}


def write(options: argparse.Namespace, place: Path) -> Path:
    """The model's directory."""
    stored, cut = MODELS[options.model]
    config = json.loads((CONFIGS / stored / "config.json").read_text())
    config = {**config, **cut, "num_hidden_layers": options.layers}
    config = {name: value for name, value in config.items() if name not in ("_source", "auto_map")}
    directory = place / options.model
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def arguments(options: argparse.Namespace) -> list[str]:
    """The server's arguments for a model."""
    if options.engine == "vllm":
        return ["--moe-backend", "deep_gemm"]
    if options.model == "deepseek-v3.2":
        backends = ["--dsa-prefill-backend", "flashmla_sparse", "--dsa-decode-backend", "flashmla_sparse"]
        return [*backends, "--kv-cache-dtype", "bfloat16"]
    runner = ["--moe-runner-backend", "deep_gemm"] if options.model.startswith("qwen3") else []
    return ["--attention-backend", "triton", *runner]


def environment(options: argparse.Namespace) -> list[str]:
    """The environment that a model needs, as NAME=VALUE."""
    return ["SGLANG_DSA_PREFILL_DENSE_ATTN_KV_LEN_THRESHOLD=0"] if options.model == "deepseek-v3.2" else []
