"""vLLM's engine core with its worker, whole, on the stub GPU, with kregistry as its plugin: MODEL [ARGUMENT ...]

It loads the model and ends its warm-up as a server does before it is ready, then serves prompts of growing lengths and
a batch. It prints what DeepGEMM itself compiled before and after it was ready, all kernels, and what is still watched.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from whole_sglang import NobodyListens, compiled_by_deep_gemm, watched_calls

PROMPTS = (1, 17, 31, 32, 300, 1500, 4000, 6000, 8500)


def load(model: str, arguments: list[str]) -> Any:
    """The engine, ready: patched as for a rehearsal, with the plugins that vLLM loads."""
    from kregistry.rehearsal.patches import apply
    from kregistry.rehearsal.patches.catalogue import PATCHES, before_import

    apply(before_import("vllm"))
    from kregistry.rehearsal import vllm as rehearsed

    importlib.import_module(rehearsed.MODULE)
    apply(PATCHES["vllm"])
    listener: Any = NobodyListens()
    running = rehearsed.VllmEngine(["--model", model, *arguments], listener)
    running.load()
    return running


def override_of_this_process() -> Any:
    """kregistry's hooks; ``None`` if it is off."""
    module: Any = importlib.import_module("vllm.model_executor.warmup.kernel_warmup")
    return getattr(module.deep_gemm_warmup, "__self__", None)


def last_start() -> dict[str, Any]:
    """The status of the last start, and its manifest."""
    found = sorted(Path(os.environ["KREGISTRY_STORE"], "starts").glob("*/status.json"), key=os.path.getmtime)
    if not found:
        return {}
    return {**json.loads(found[-1].read_text()), "manifest": found[-1].with_name("manifest.yaml").read_text()}


def main(model: str, arguments: list[str]) -> None:
    logging.basicConfig(level=logging.INFO)
    began = time.monotonic()
    running = load(model, arguments)
    loaded = time.monotonic() - began
    override = override_of_this_process()
    before = compiled_by_deep_gemm()
    watched = watched_calls(override.first_calls) if override else []
    served = []
    for tokens in PROMPTS:
        running._generate([tokens], new=2)
        served.append([tokens, len(compiled_by_deep_gemm()) - len(before)])
    running._generate([200] * 16, new=3)
    root = Path(os.environ["DG_JIT_CACHE_DIR"], "cache")
    answer = {
        "loaded_s": loaded,
        "ready": override._is_ready() if override else True,
        "before": before,
        "live": sorted(set(compiled_by_deep_gemm()) - set(before)),
        "served": served,
        "kernels": sorted(path.name for path in root.iterdir()),
        "watched": watched,
        "watched_after": watched_calls(override.first_calls) if override else [],
        "start": last_start(),
    }
    print("ANSWER " + json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
