"""What a VllmConfig says about a model and its deployment, as a request for the build process."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from kregistry.integrations.start_folder import Request
from kregistry.integrations.switches import AUTOMATIC, switched_on


def request_of(vllm_config: Any) -> Request:
    """
    Raises:
        Exception: of any kind, where this version of vLLM is not as expected.
    """
    model, parallel = vllm_config.model_config, vllm_config.parallel_config
    tokens = int(vllm_config.scheduler_config.max_num_batched_tokens)
    tp, dp = int(parallel.tensor_parallel_size), int(parallel.data_parallel_size)
    deployment: dict[str, Any] = {"tp": tp, "dp": dp, "max_batched_tokens": tokens}
    if parallel.enable_expert_parallel:
        deployment["ep"] = tp * dp
        if dp > 1:
            deployment["a2a"] = str(getattr(parallel, "all2all_backend", "none"))
    runner = getattr(getattr(vllm_config, "kernel_config", None), "moe_backend", None)
    if runner is not None:
        deployment["moe_runner"] = str(runner)
    name = re.sub(r"[^a-z0-9._-]+", "-", str(model.model).rstrip("/").rpartition("/")[2].lower()).strip("-.")
    return Request("vllm", name or "model", _config(model), deployment, automatic=switched_on(AUTOMATIC))


def _config(model: Any) -> dict[str, Any]:
    """The model's config.json, with what the command line overrides; the file itself comes first."""
    path = Path(str(model.model)) / "config.json"
    overrides = getattr(model, "hf_overrides", None)
    if path.is_file():
        config: dict[str, Any] = json.loads(path.read_text())
        return {**config, **(overrides if isinstance(overrides, dict) else {})}
    config = json.loads(json.dumps(model.hf_config.to_dict(), default=str))
    config.setdefault("architectures", list(model.hf_config.architectures))
    return config
