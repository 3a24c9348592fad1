"""What SGLang's ServerArgs say about a model and its deployment, as a request for the build process.

Versions of SGLang have different arguments: one that is missing has the default of ``kregistry init``.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kregistry.integrations.sglang.call_sites import KERNEL_TYPES
from kregistry.integrations.start_folder import Request
from kregistry.integrations.switches import AUTOMATIC, switched_on

#: Argument of ServerArgs -> argument of Deployment, where the value stays as it is.
_SAME = {
    "tp_size": "tp",
    "ep_size": "ep",
    "moe_a2a_backend": "a2a",
    "moe_runner_backend": "moe_runner",
    "moe_dense_tp_size": "moe_dense_tp",
    "ep_num_redundant_experts": "redundant_experts",
    "speculative_num_draft_tokens": "speculative_tokens",
    "enable_two_batch_overlap": "two_batch_overlap",
    "enable_single_batch_overlap": "single_batch_overlap",
    "pp_size": "pp",
    "attn_cp_size": "cp",
}

#: All-to-all backend -> the variable that bounds what a rank dispatches at once.
_DISPATCH_TOKENS = {
    "deepep": "SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK",
    "megamoe": "SGLANG_OPT_DEEPGEMM_MEGA_MOE_NUM_MAX_TOKENS_PER_RANK",
}


def find_server_args(values: Iterable[object]) -> Any:
    """The ServerArgs among the arguments of a call; ``None`` if there are none."""
    return next((each for each in values if hasattr(each, "model_path") and hasattr(each, "tp_size")), None)


def request_of(server_args: Any) -> Request:
    """
    Raises:
        Exception: of any kind, where this version of SGLang is not as expected.
    """
    given = server_args
    server_args = _resolved(given)
    chunk = _chunk(server_args)
    return Request(
        engine="sglang",
        model=_name(str(server_args.model_path)),
        config=dict(_config(given)),
        deployment=_deployment(server_args, chunk),
        largest=_largest(chunk // _dp(server_args) if chunk > 0 else chunk),
        warmed=tuple(KERNEL_TYPES.values()),
        automatic=switched_on(AUTOMATIC),
    )


def _resolved(server_args: Any) -> Any:
    """The arguments with the values that SGLang has chosen for those that were not given.

    SGLang 0.5.23 keeps what was given on the record, and its choices behind a view. Earlier versions write them to the
    record.
    """
    view = getattr(sys.modules.get("sglang.srt.arg_groups.overrides"), "resolving_view", None)
    return server_args if view is None else view(server_args)


def build_environment() -> dict[str, str]:
    """DeepGEMM's settings as SGLang makes them from its own, when a scheduler imports ``compile_utils``."""
    home = os.path.expanduser("~/.cache/deep_gemm")  # noqa: PTH111  # as SGLang: without a home it stays as it is
    return {
        "DG_JIT_CACHE_DIR": os.environ.get("SGLANG_DG_CACHE_DIR", home),
        "DG_JIT_USE_NVRTC": os.environ.get("SGL_DG_USE_NVRTC", "0"),
    }


def _deployment(server_args: Any, chunk: int) -> dict[str, Any]:
    options = {ours: getattr(server_args, theirs) for theirs, ours in _SAME.items() if hasattr(server_args, theirs)}
    options = {name: getattr(value, "value", value) for name, value in options.items() if value is not None}
    options["dp"] = _dp(server_args)
    options["chunked_prefill"] = chunk
    if getattr(server_args, "disable_shared_experts_fusion", False):
        options["shared_expert_fusion"] = "off"
    requests = _decode_requests(server_args)
    if requests:
        options["max_requests"] = requests
    tokens = os.environ.get(_DISPATCH_TOKENS.get(str(options.get("a2a")), ""), "")
    if tokens.isdecimal() and int(tokens) > 0:
        options["max_dispatch_tokens"] = int(tokens)
    return options


def _decode_requests(server_args: Any) -> int | None:
    """The requests of a decode step: as many as may run on a rank; else the largest captured step."""
    running = getattr(server_args, "max_running_requests", None)
    if isinstance(running, int) and running > 0:
        return max(1, running // _dp(server_args))  # pool_configurator.py: attn_dp_size divides them
    resolved = getattr(getattr(server_args, "cuda_graph_config", None), "decode", None)
    found = [getattr(resolved, "max_bs", None)]
    found += [getattr(server_args, name, None) for name in ("cuda_graph_max_bs_decode", "cuda_graph_max_bs")]
    return next((each for each in found if isinstance(each, int) and each > 0), None)


def _dp(server_args: Any) -> int:
    """The size of data-parallel attention inside the tensor-parallel ranks; replicas do not count."""
    size = getattr(server_args, "attn_dp_size", None)  # SGLang 0.5.23
    if isinstance(size, int) and size > 1:
        return size
    return int(server_args.dp_size) if getattr(server_args, "enable_dp_attention", False) else 1


def _chunk(server_args: Any) -> int:
    """``--chunked-prefill-size`` as given: SGLang has divided it among data-parallel ranks."""
    size = getattr(server_args, "chunked_prefill_size", None)
    return -1 if size is None or size < 1 else int(size) * _dp(server_args)


def _largest(chunk: int) -> int:
    """The last m of SGLang's own warm-up: ``update_deep_gemm_config`` in ``compile_utils``."""
    if chunk < 1:
        return 1 << 16
    return min(1 << 17, 2 * chunk if chunk > 8192 else 1 << 14)


def _config(server_args: Any) -> Mapping[str, Any]:
    """The model's config.json, with what the command line overrides.

    The file itself comes first: transformers gives some keys other names.
    """
    found: dict[str, Any] = {}
    path = Path(str(server_args.model_path)) / "config.json"
    if path.is_file():
        found = json.loads(path.read_text())
    else:
        hf_config = server_args.get_model_config().hf_config
        found = json.loads(json.dumps(hf_config.to_dict(), default=str))
        found.setdefault("architectures", list(hf_config.architectures))
    return {**found, **json.loads(getattr(server_args, "json_model_override_args", None) or "{}")}


def _name(path: str) -> str:
    """``/models/DeepSeek-V3/`` -> ``deepseek-v3``"""
    last = path.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^a-z0-9._-]+", "-", last.lower()).strip("-.") or "model"
