"""The conformance kit on a real GPU: every installed kernel type at every level, several processes at once.

    python benchmarks/conformance.py --work DIR [--earlier DIR] [--seconds N] [NAME ...]

Each kernel type runs in its own process, with its share of the cores. Writes DIR/NAME.jsonl for each, and
DIR/conformance.json: the machine, the numbers of checks by outcome for each kernel type, and every failure and skip
with its reason.

A long run can be made in pieces: after N seconds no kernel type begins any more, and one that has begun is ended after
--timeout. The next piece takes the results of the last one with --earlier, as long as the rules are the same. Without a
GPU, --require stub --target h200 tries all of this on the stub GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measuring import describe_machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="kernel types; default: all that support this GPU")
    parser.add_argument("--leave-out", action="append", default=[], metavar="NAME")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for each")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no kernel type later than this")
    parser.add_argument("--earlier", type=Path, help="the --work of an earlier piece: what it has is not run again")
    parser.add_argument("--require", choices=("stub", "gpu"), default="gpu", help="the level that must be tested")
    parser.add_argument("--target", help="the GPU whose kernel types are tested; default: the one of this machine")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    options.end = started + options.seconds
    names = [name for name in options.names or claimed(options.target) if name not in options.leave_out]
    take_earlier(names, options)
    records = run(names, options)
    seconds = round(time.perf_counter() - started, 1)
    left = [name for name in names if not is_complete(options.work / f"{name}.jsonl")]
    results = {"machine": describe(options), "seconds": seconds, "left": left, **summary(records)}
    (options.work / "conformance.json").write_text(json.dumps(results, indent=1) + "\n")
    for name, counts in results["kernel_types"].items():
        print(f"{name:<44} " + "  ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    for line in results["failures"]:
        print("FAILED", line)
    print(f"{len(names) - len(left)} of {len(names)} kernel types, {seconds} s")
    if left:
        print(f"left, for a run with --earlier {options.work}: {' '.join(left)}")
    sys.exit(1 if left or results["failures"] else 0)


def describe(options: argparse.Namespace) -> Any:
    return describe_machine() if options.require == "gpu" else "the stub GPU: no launch has computed anything"


def claimed(target: str | None) -> list[str]:
    from kregistry import Registry, detect_target, get_target
    from kregistry.toolchain import require_deep_gemm

    registry, gpu, version = Registry(), get_target(target) if target else detect_target(), require_deep_gemm()
    return [name for name in registry.names() if registry[name].unsupported_reason(gpu, version) is None]


def take_earlier(names: list[str], options: argparse.Namespace) -> None:
    """Copy the complete reports of an earlier piece."""
    for name in names if options.earlier else ():
        earlier = options.earlier / f"{name}.jsonl"
        if is_complete(earlier) and not (options.work / earlier.name).exists():
            shutil.copyfile(earlier, options.work / earlier.name)


def is_complete(report: Path) -> bool:
    """Whether a report holds each check of the rules of today."""
    from kregistry.conformance.rules import RULES

    checks = {(check.rule.id, check.case) for rule in RULES.values() for check in rule.checks()}
    return report.is_file() and {(each["rule"], each["case"] or "") for each in records_of(report)} == checks


def records_of(report: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in report.read_text().splitlines()]


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
    if is_complete(report):
        return records_of(report)
    if time.perf_counter() > options.end:
        return []
    report.unlink(missing_ok=True)
    command = [sys.executable, "-W", "ignore", "-m", "kregistry", "conformance", "--require", options.require, name]
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
    return records_of(report)


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
