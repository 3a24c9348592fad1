"""Costs of serving on a real GPU: host time of calls, decode throughput, JIT monitor, recording, empty inputs.

    python benchmarks/serving.py calls   --work DIR    raw, sealed, and in a context manager as in SGLang
    python benchmarks/serving.py decode  --work DIR    one DeepSeek-V4-Pro layer, m = 1, 8, 64, with and without graph
    python benchmarks/serving.py monitor --work DIR    unseen shapes in each mode, false alarms, overhead
    python benchmarks/serving.py record  --work DIR    record a script, build, warm up, run it again in mode error
    python benchmarks/serving.py empty   --work DIR    m = 0 of every kernel type in kernels.yaml
    python benchmarks/serving.py all     --work DIR    all of them, each in its own process
    python benchmarks/serving.py compare --work DIR --old DIR --new DIR [--quick] [--no-op]
                                                       sealed calls of two checkouts; writes DIR/compare.json

Each adds its numbers to DIR/serving.json and prints a short table. Host times are medians over rounds; each
round measures all variants. DIR keeps store and JIT cache. `compare` imports kregistry from the two checkouts only, and
needs an environment with the dependencies of kregistry.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import describe_machine
from serving_parts import calls, checkout, compare, decode, empty, monitor, record

PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "calls": calls.calls,
    "decode": decode.decode,
    "monitor": monitor.monitor,
    "record": record.record,
    "empty": empty.empty,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS, "all", "compare", "overhead", "checkout"])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--shapes", type=int, default=50, help="unseen shapes in modes warn and error")
    parser.add_argument("--count-shapes", type=int, default=10, help="unseen shapes in mode count")
    parser.add_argument("--warmed-calls", type=int, default=100_000)
    parser.add_argument("--old", type=Path, help="compare: the checkout before the change")
    parser.add_argument("--new", type=Path, help="compare: the checkout with the change")
    parser.add_argument("--old-commit", default="", help="compare: the name of --old, if it is no git repository")
    parser.add_argument("--new-commit", default="", help="compare: the name of --new, likewise")
    parser.add_argument("--rounds", type=int, default=5, help="compare: processes of each checkout")
    parser.add_argument("--batches", type=int, default=140, help="compare: batches of 100 calls in a process")
    parser.add_argument("--quick", action="store_true", help="compare: 2 rounds of 20 batches")
    parser.add_argument("--no-op", action="store_true", help="compare: functions that do nothing; needs no GPU")
    parser.add_argument("--monitored", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.work = options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    os.environ["DG_JIT_CACHE_DIR"] = str(options.work / "cache")
    if options.quick:
        options.rounds, options.batches = 2, 20
    if options.part == "compare":
        compare.compare(options)
        return
    if options.part in ("overhead", "checkout"):  # in processes that the parts start
        print(json.dumps(monitor.overhead(options) if options.part == "overhead" else checkout.checkout(options)))
        return
    if options.part == "all":
        for part in PARTS:
            command = [sys.executable, "-W", "ignore", __file__, part, *sys.argv[2:]]
            if subprocess.run(command, check=False).returncode:
                print(f"{part}: FAILED")
        return
    from kregistry.toolchain import find_cuda_toolkit

    os.environ.setdefault("CUDA_HOME", str(find_cuda_toolkit().home))
    results_file = options.work / "serving.json"
    results: dict[str, Any] = json.loads(results_file.read_text()) if results_file.exists() else {}
    part = PARTS[options.part](options)
    from kregistry import deep_gemm_version

    results.setdefault("machine", {**describe_machine(), "deep_gemm": deep_gemm_version()})
    results[options.part] = part
    results_file.write_text(json.dumps(results, indent=1) + "\n")
    for name, value in part.items():
        print(f"{options.part:8} {name:44} {json.dumps(value)}")


if __name__ == "__main__":
    main()
