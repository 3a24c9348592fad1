"""What a VllmConfig says about a model and its deployment, as a request for the build process."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from attrs import fields

from kregistry.hf_config.deployment import Deployment
from kregistry.integrations.remembered_calls import model_key
from kregistry.integrations.start_folder import Request
from kregistry.integrations.switches import AUTOMATIC, switched_on
from kregistry.integrations.vllm.layer_rules import first_rows, psum_scales


def request_of(vllm_config: Any) -> Request:
    """
    Raises:
        Exception: of any kind, where this version of vLLM is not as expected.
    """
    model, parallel = vllm_config.model_config, vllm_config.parallel_config
    scheduler = vllm_config.scheduler_config
    tp, dp = int(parallel.tensor_parallel_size), int(parallel.data_parallel_size)
    cp = int(getattr(parallel, "prefill_context_parallel_size", 1))
    deployment: dict[str, Any] = {"tp": tp, "dp": dp, "max_batched_tokens": int(scheduler.max_num_batched_tokens)}
    if parallel.enable_expert_parallel:
        deployment["ep"] = tp * dp * cp
        if dp > 1 or cp > 1:
            deployment["a2a"] = str(getattr(parallel, "all2all_backend", "none"))
    deployment |= _given(
        pp=getattr(parallel, "pipeline_parallel_size", 1),
        cp=cp,
        eplb=bool(getattr(parallel, "enable_eplb", False)),
        redundant_experts=getattr(getattr(parallel, "eplb_config", None), "num_redundant_experts", 0),
        two_batch_overlap=bool(getattr(parallel, "enable_dbo", False)),
        max_requests=getattr(scheduler, "max_num_seqs", None),
        speculative_tokens=getattr(getattr(vllm_config, "speculative_config", None), "num_speculative_tokens", None),
    )
    runner = getattr(getattr(vllm_config, "kernel_config", None), "moe_backend", None)
    if runner is not None:
        deployment["moe_runner"] = str(runner)
    name = re.sub(r"[^a-z0-9._-]+", "-", str(model.model).rstrip("/").rpartition("/")[2].lower()).strip("-.")
    return Request(
        engine="vllm",
        model=name or "model",
        config=_config(model),
        deployment=deployment,
        automatic=switched_on(AUTOMATIC),
        first_rows=first_rows(),
        psum_scales=psum_scales(),
    )


def engine_name(vllm_config: Any, request: Request) -> str:
    """Equal in all workers of one engine: vLLM gives each engine an id of its own."""
    own = re.sub(r"\W", "", str(getattr(vllm_config, "instance_id", "")))
    return f"{own or 'engine'}-{model_key(request)}"


def _given(**options: Any) -> dict[str, Any]:
    """Options of ``kregistry init`` that are not its defaults."""
    defaults = {attribute.name: attribute.default for attribute in fields(Deployment)}
    return {name: value for name, value in options.items() if value is not None and value != defaults[name]}


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
