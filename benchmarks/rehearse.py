"""Rehearses seven models on the stub GPU, one after another, and says how long each takes. No GPU is needed.

python benchmarks/rehearse.py [--output FILE.json] [--only WORD]

It needs an environment as of .ci/engines. Seconds of the wall clock count only on a machine that does nothing else.
Those of the CPU include every process that a rehearsal starts. Each manifest is planned as well, measured apart.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import children_seconds

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "tests" / "data" / "rehearsal" / "configs"
TARGET = "h100"
#: Engine, model, and its arguments.
SETTINGS = (
    ("sglang", "deepseek-v3", "--tp-size 8"),
    ("sglang", "deepseek-v3.2", "--tp-size 8"),
    ("sglang", "kimi-k2-instruct", "--tp-size 8"),
    ("sglang", "qwen3-235b-a22b-fp8", "--tp-size 8 --ep-size 8 --moe-runner-backend deep_gemm"),
    ("sglang", "qwen3-30b-a3b-fp8", "--tp-size 2 --moe-runner-backend deep_gemm"),
    ("vllm", "qwen3-30b-a3b-fp8", "--tensor-parallel-size 1"),
    ("vllm", "qwen3-235b-a22b-fp8", "--tensor-parallel-size 8 --enable-expert-parallel --moe-backend deep_gemm"),
)
#: Exit codes of a complete plan: 5 says that some of its kernels are known not to compile.
PLANNED = (0, 5)
COLUMNS = ("engine", "model", "arguments", "exit code", "entries", "wall s", "CPU s", "plan exit code", "plan wall s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="write the numbers to this file")
    parser.add_argument("--only", default="", help="only the settings that have this word")
    given = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    rows = []
    for engine, model, arguments in SETTINGS:
        if given.only in f"{engine} {model} {arguments}":
            row = rehearse(engine, model, arguments)
            rows.append(row)
            print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)
    if given.output:
        cores = len(os.sched_getaffinity(0))
        machine = {"cores": cores, "machine": platform.machine(), "target": TARGET}
        given.output.write_text(json.dumps({**machine, "rehearsals": rows}, indent=1) + "\n")
    sys.exit(any(row["exit code"] or row["plan exit code"] not in PLANNED for row in rows))


def rehearse(engine: str, model: str, arguments: str) -> dict[str, object]:
    """One row of the table."""
    option = "--model-path" if engine == "sglang" else "--model"
    with tempfile.TemporaryDirectory() as scratch:
        manifest = Path(scratch) / "kernels.yaml"
        words = ("rehearse", engine, "--target", TARGET, "-o", str(manifest), "--", option, str(CONFIGS / model))
        code, wall, cpu, last = run(*words, *arguments.split())
        plan_code, plan_wall, _, _ = run("plan", str(manifest)) if code == 0 else (code, 0.0, 0.0, "")
    entries = last.split(maxsplit=1)[0] if code == 0 else last
    values = (engine, model, arguments, code, entries, round(wall, 1), round(cpu, 1), plan_code, round(plan_wall, 1))
    return dict(zip(COLUMNS, values, strict=True))


def run(*words: str) -> tuple[int, float, float, str]:
    """Exit code, wall and CPU seconds of a command of kregistry, and its last line."""
    before, began = children_seconds(), time.perf_counter()
    environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "kregistry", *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env=environment,
    )  # fmt: skip
    wall, cpu = time.perf_counter() - began, children_seconds() - before
    return done.returncode, wall, cpu, (done.stderr.strip().splitlines() or [""])[-1]


if __name__ == "__main__":
    main()
