"""The models that a server is started with: their config.json, cut to a few layers, and the arguments they need."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).parents[2] / "manifests" / "configs"

#: What the stored configs leave out, because no kernel depends on it.
_DEEPSEEK = {
    "n_group": 8,
    "topk_group": 4,
    "topk_method": "noaux_tc",
    "scoring_func": "sigmoid",
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.5,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000,
    "rope_scaling": {
        "type": "yarn",
        "factor": 40,
        "beta_fast": 32,
        "beta_slow": 1,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 4096,
    },
    "hidden_act": "silu",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
_QWEN = {
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000,
    "hidden_act": "silu",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "bos_token_id": 0,
    "eos_token_id": 1,
}
#: name -> (stored config, what it leaves out, more)
MODELS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "deepseek-v3": ("deepseek-v3.json", _DEEPSEEK, {"first_k_dense_replace": 1, "num_nextn_predict_layers": 0}),
    "deepseek-v3.2": ("deepseek-v3.2.json", _DEEPSEEK, {"first_k_dense_replace": 1, "num_nextn_predict_layers": 0}),
    "qwen3-30b-a3b": ("qwen3-30b-a3b-fp8.json", _QWEN, {}),
}


def write(options: argparse.Namespace, place: Path) -> Path:
    """The model's directory."""
    stored, usual, more = MODELS[options.model]
    config = json.loads((CONFIGS / stored).read_text())
    config = {**usual, **config, **more, "num_hidden_layers": options.layers}
    config.pop("_source", None)
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
