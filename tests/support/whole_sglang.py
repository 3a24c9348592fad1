"""A rank of SGLang, whole, on the stub GPU, with kregistry as its plugin: MODEL RANK [ARGUMENT-OF-THE-SERVER ...]

The launching process's part is done here too, unless another process has done it (KREGISTRY_START is set). The rank
loads the model, runs forwards as the capture of graphs does, answers a warm-up request, is ready, and serves prompts of
growing lengths. It prints what DeepGEMM itself compiled before and after it was ready, and what is still watched.
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

PROMPTS = (1, 17, 300, 1500, 2100, 4000, 6000, 8500)


class NobodyListens:
    """Takes the place of the observer of a rehearsal."""

    def __init__(self) -> None:
        self.models: list[Any] = []

    def write(self, line: object) -> None:
        pass

    forward = write

    def calls(self) -> set[object]:
        return set()


def compiled_by_deep_gemm() -> list[str]:
    """The kernels that DeepGEMM has compiled itself: its compiler is a stand-in on the stub, which writes no ELF."""
    root = Path(os.environ["DG_JIT_CACHE_DIR"], "cache")
    return sorted(
        path.parent.name for path in root.glob("*/kernel.cubin") if not path.read_bytes().startswith(b"\x7fELF")
    )


def watched_calls(first_calls: Any) -> list[str]:
    """The functions that are watched when this is called."""
    return sorted(each.names[0] for each in first_calls._functions)


def main(model: str, rank: int, arguments: list[str]) -> None:
    logging.basicConfig(level=logging.INFO)
    began = time.monotonic()
    from kregistry.rehearsal.patches import apply
    from kregistry.rehearsal.patches.catalogue import PATCHES, before_import

    apply(before_import("sglang"))
    from kregistry.rehearsal import sglang as rehearsed

    importlib.import_module(rehearsed.MODULE)
    apply(PATCHES["sglang"])
    for module in [each for each in list(sys.modules.values()) if "broadcast_pyobj" in getattr(each, "__dict__", {})]:
        module.broadcast_pyobj = lambda data, *_, **__: data  # type: ignore[attr-defined]  # no rank is there to send it
    from sglang.srt.plugins import load_plugins

    load_plugins()
    from sglang.srt.plugins.hook_registry import HookRegistry

    (_, hook, _), *_ = HookRegistry._hooks["sglang.srt.layers.deep_gemm_wrapper.entrypoint.update_deep_gemm_config"]
    override = hook.__self__
    from sglang.srt.entrypoints import engine as launching

    listener: Any = NobodyListens()
    running = rehearsed.SglangEngine(["--model-path", model, *arguments], listener, rank)
    if "KREGISTRY_START" not in os.environ:
        launching._set_envs_and_config(running._args)
    running.load()
    loaded = time.monotonic() - began
    runner = running._scheduler.tp_worker.model_runner
    import torch

    from kregistry.integrations.start_folder import StartFolder

    start = StartFolder.of_environment()
    with torch.inference_mode():
        for tokens in (1024, 512, 64, 1):
            running._generate([tokens], new=1)
        running._generate([1] * 64, new=3)
        running._generate([6], new=8)  # SGLang's own warm-up request
        before = compiled_by_deep_gemm()
        watched = watched_calls(override.first_calls)
        start.mark_ready()
        served = []
        for tokens in PROMPTS:
            running._generate([tokens], new=2)
            served.append([tokens, len(compiled_by_deep_gemm()) - len(before)])
        running._generate([200] * 32, new=3)
    answer = {
        "model": type(runner.model).__name__,
        "loaded_s": loaded,
        "before": before,
        "live": sorted(set(compiled_by_deep_gemm()) - set(before)),
        "served": served,
        "watched": watched,
        "watched_after": watched_calls(override.first_calls),
        "start": json.loads((start.directory / "status.json").read_text()),
        "manifest": start.manifest.read_text(),
    }
    print("ANSWER " + json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
