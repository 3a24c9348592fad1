"""The conformance kit on a real GPU: every installed kernel type at every level, several processes at once.

    python benchmarks/conformance.py --work DIR [NAME ...]

Each kernel type runs in its own process, with its share of the cores. Writes DIR/conformance.json: the machine, the
numbers of checks by outcome for each kernel type, and every failure and skip with its reason.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hardware import describe_machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="kernel types; default: all that support this GPU")
    parser.add_argument("--leave-out", action="append", default=[], metavar="NAME")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for each")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    records = run([name for name in options.names or claimed() if name not in options.leave_out], options)
    seconds = round(time.perf_counter() - started, 1)
    results = {"machine": describe_machine(), "seconds": seconds, **summary(records)}
    (options.work / "conformance.json").write_text(json.dumps(results, indent=1) + "\n")
    for name, counts in results["kernel_types"].items():
        print(f"{name:<44} " + "  ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    for line in results["failures"]:
        print("FAILED", line)
    print(f"{len(results['kernel_types'])} kernel types, {seconds} s")


def claimed() -> list[str]:
    from kregistry import Registry
    from kregistry.target import detect_target
    from kregistry.toolchain import require_deep_gemm

    registry, gpu, version = Registry(), detect_target(), require_deep_gemm()
    return [name for name in registry.names() if registry[name].unsupported_reason(gpu, version) is None]


def run(names: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every record. Each kernel type has its own process, so that a broken CUDA context affects no other."""
    with ThreadPoolExecutor(options.processes) as pool:
        found = list(pool.map(lambda item: run_one(*item, options), enumerate(names)))
    return [record for records in found for record in records]


def run_one(number: int, name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    cores = sorted(os.sched_getaffinity(0))
    share = max(1, len(cores) // options.processes)
    first = number % options.processes * share
    report, output = options.work / f"{name}.jsonl", options.work / f"{name}.txt"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-W", "ignore", "-m", "kregistry", "conformance", "--require", "gpu", name]
    # Its own JIT cache, so that kernels of other processes do not count as compiled here.
    env = {**os.environ, "DG_JIT_CACHE_DIR": str(options.work / "cache" / name)}
    env["KREGISTRY_STORE"] = str(options.work / "store")
    with output.open("wb") as file:
        try:
            subprocess.run(
                [*command, "--report", str(report)],
                env=env,
                stdout=file,
                stderr=file,
                timeout=options.timeout,
                preexec_fn=lambda: os.sched_setaffinity(0, cores[first : first + share]),
            )
        except subprocess.TimeoutExpired:
            print(f"{name}: ended after {options.timeout:g} s")
    if not report.exists():
        print(f"{name}: no report; {output.read_text()[-300:]}")
        return []
    return [json.loads(line) for line in report.read_text().splitlines()]


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    kernel_types: dict[str, Counter[str]] = {}
    levels: dict[str, Counter[str]] = {}
    skipped: dict[str, list[str]] = {}
    for each in records:
        kernel_types.setdefault(each["kernel_type"], Counter())[each["outcome"]] += 1
        levels.setdefault(each["level"], Counter())[each["outcome"]] += 1
        if each["outcome"] == "skipped":
            skipped.setdefault(f"{each['rule']}: {each['reason']}", []).append(each["kernel_type"])
    failures = [f"{each['kernel_type']}: {each['reason']}" for each in records if each["outcome"] == "failed"]
    skips = {reason: sorted(set(names)) for reason, names in sorted(skipped.items())}
    return {
        "kernel_types": dict(sorted(kernel_types.items())),
        "levels": levels,
        "failures": failures,
        "skipped": skips,
    }


if __name__ == "__main__":
    main()
