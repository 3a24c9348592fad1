"""vLLM's own DeepGEMM warm-ups beside kregistry's, on the stub GPU: kernels compiled before and after it is ready.

    python benchmarks/vllm_on_stub.py --work DIR --cubin FILE --out DIR/results.json

In an environment with vLLM (.ci/engines, .ci/engine-versions), without a GPU. Each start is vLLM's engine core and
worker in one process with DeepSeek-V3 cut to 2 layers, as in tests/integrations/test_whole_vllm.py: it loads, warms up,
and serves prompts of 1 to 8,500 tokens. kregistry's compiler copies the cubin that --cubin names, and DeepGEMM's is a
stand-in too: the seconds are those of everything but the compilers.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from compilers import slow_toolkit
from measuring import children_seconds
from vllm_starts import VllmStarts

from kregistry.toolchain import find_toolchain

#: (who, VLLM_DEEP_GEMM_WARMUP, what the caches hold); starts of one who and setting share their caches.
STARTS = (
    ("kregistry", "relax", "cold"),
    ("kregistry", "relax", "warm"),
    ("vllm", "relax", "cold"),
    ("vllm", "full", "cold"),
    ("vllm", "relax", "warm"),
    ("vllm", "full", "warm"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="an empty directory for models, stores and caches")
    parser.add_argument("--out", type=Path, required=True, help="file of the results")
    parser.add_argument("--cubin", type=Path, required=True, help="any cubin of this GPU architecture")
    options = parser.parse_args()
    home = options.work.resolve()
    home.mkdir(parents=True, exist_ok=True)
    compiler = slow_toolkit(home / "cuda", find_toolchain(), options.cubin.read_bytes(), 0) / "bin" / "nvcc"
    servers = VllmStarts(home, compiler)
    starts = [start(servers, *each) for each in STARTS]
    packages = {name: metadata.version(name) for name in ("vllm", "torch", "sgl-deep-gemm")}
    machine = {"cores": os.cpu_count(), "gpu": None, **packages, "date": time.strftime("%Y-%m-%d")}
    options.out.write_text(json.dumps({"machine": machine, "starts": starts}, indent=1) + "\n")


def start(servers: VllmStarts, who: str, setting: str, state: str) -> dict[str, Any]:
    """One start, measured."""
    before = children_seconds()
    cache, switch = (who, "1") if who == "kregistry" else (f"{who}-{setting}", "0")
    answer = servers.start(cache, setting, KREGISTRY=switch)
    cpu = children_seconds() - before
    steps = [int(each) for each in re.findall(r"DeepGEMM warmup: 100%.*?(\d+)/\1 ", answer["text"])]
    ours = re.findall(r"call sites ready, \d+ built, (\d+) launches", answer["text"])
    found = {
        "who": who,
        "setting": setting,
        "state": state,
        "ready_s": round(answer["loaded_s"], 1),
        "cpu_s": round(cpu, 1),
        "launches_of_warm_up": sum(map(int, ours)) if who == "kregistry" else max(steps, default=0),
        "kernels_at_ready": len(answer["kernels"]) - len(answer["live"]),
        "compiled_by_deep_gemm_before_ready": len(answer["before"]),
        "built_by_kregistry": answer["start"].get("built", 0),
        "compiled_while_serving": len(answer["live"]),
    }
    print(json.dumps(found), flush=True)
    return found


if __name__ == "__main__":
    main()
