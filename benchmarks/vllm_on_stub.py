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
import resource
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS / "support"))

from compilers import slow_toolkit  # noqa: E402
from on_stub import environment  # noqa: E402

from kregistry.rehearsal.vllm import ENVIRONMENT  # noqa: E402
from kregistry.toolchain import find_toolchain  # noqa: E402

CONFIG = TESTS / "data" / "rehearsal" / "configs" / "deepseek-v3" / "config.json"
ARGUMENTS = "--moe-backend deep_gemm --max-model-len 8704 --max-num-batched-tokens 4096 --max-num-seqs 32"
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
    config = {**json.loads(CONFIG.read_text()), "num_hidden_layers": 2, "first_k_dense_replace": 1}
    config |= {"num_nextn_predict_layers": 0}
    config.pop("auto_map", None)
    (home / "deepseek-v3").mkdir(parents=True)
    (home / "deepseek-v3" / "config.json").write_text(json.dumps(config))
    compiler = slow_toolkit(home / "cuda", find_toolchain(), options.cubin.read_bytes(), 0) / "bin" / "nvcc"
    starts = [start(home, compiler, *each) for each in STARTS]
    packages = {name: metadata.version(name) for name in ("vllm", "torch", "sgl-deep-gemm")}
    machine = {"cores": os.cpu_count(), "gpu": None, **packages, "date": time.strftime("%Y-%m-%d")}
    options.out.write_text(json.dumps({"machine": machine, "starts": starts}, indent=1) + "\n")


def start(home: Path, compiler: Path, who: str, setting: str, state: str) -> dict[str, Any]:
    """One start, measured."""
    place = home / (who if who == "kregistry" else f"{who}-{setting}")
    variables = {
        "KREGISTRY_STORE": str(place / "store"),
        "XDG_CACHE_HOME": str(home / "xdg"),
        "VLLM_CACHE_ROOT": str(home / "vllm"),
        "DG_JIT_CACHE_DIR": str(place / "jit"),
        "KREGISTRY_NVCC": str(compiler),
        "KREGISTRY_STUB_COUNT_MEMORY": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        **{name: value for name, value in ENVIRONMENT.items() if name != "KREGISTRY_VLLM"},
        "VLLM_DEEP_GEMM_WARMUP": setting,
        "KREGISTRY": "1" if who == "kregistry" else "0",
    }
    script = TESTS / "support" / "whole_vllm.py"
    before = _children()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(home / "deepseek-v3"), *ARGUMENTS.split()],
        env=environment(home, "h200", **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    cpu = _children() - before
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    if not lines:
        sys.exit(done.stdout[-6000:])
    answer = json.loads(lines[0].removeprefix("ANSWER "))
    steps = [int(each) for each in re.findall(r"DeepGEMM warmup: 100%.*?(\d+)/\1 ", done.stdout)]
    ours = re.findall(r"call sites ready, \d+ built, (\d+) launches", done.stdout)
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


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
