"""Shared front ends: the time that they save, and a comparison of their cubins with those of nvcc alone.

    python benchmarks/shared_front_end.py speed   --work DIR    a cold build with and without, in one run
    python benchmarks/shared_front_end.py results --work DIR    on a GPU: every m with the cubins of both builds
    python benchmarks/shared_front_end.py compare --work DIR    all kernels both ways, section by section
    python benchmarks/shared_front_end.py compare --work DIR --target b200 --sample 3 --catalogue    three of each

CPU seconds are those of all child processes, planning included. Each part adds its numbers to DIR/shared_front_end.json
and prints a short table.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import children_seconds, describe_host

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--work", type=Path, required=True, help="directory for stores, caches and results")
    parser.add_argument("--manifest", type=Path, default=ROOT / "kernels.yaml")
    parser.add_argument("--model", action="append", default=None, help="default: deepseek-v3")
    parser.add_argument("--target", default="h100")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3, help="speed: number of builds with and without sharing")
    parser.add_argument("--every", type=int, default=1, help="results: compare only the results of each Nth value")
    parser.add_argument("--sample", type=int, help="compare: number of kernels per family (default: all)")
    parser.add_argument("--catalogue", action="store_true", help="compare: the cases of docs/catalogue.md")
    options = parser.parse_args()
    options.model = options.model or ["deepseek-v3"]
    options.work.mkdir(parents=True, exist_ok=True)
    results_file = options.work / "shared_front_end.json"
    results: dict[str, Any] = json.loads(results_file.read_text()) if results_file.exists() else {}
    part = PARTS[options.part](options)
    results.setdefault("machine", describe_host())
    results.setdefault(options.part, []).append(part)
    results_file.write_text(json.dumps(results, indent=1) + "\n")


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """`kregistry build` in a new process on an empty store, after a plan, so that the disk cache is warm for all.

    Builds with and without sharing alternate for several rounds; the ratios are those of the medians.
    """
    plan = [sys.executable, "-m", "kregistry", "plan", *arguments(options)]
    subprocess.run(plan, env=environment(), stdout=subprocess.DEVNULL, check=True)
    ways = (("alone", ["--no-shared-front-end"]), ("shared", []))
    rounds = [{name: build(options, name, flags) for name, flags in ways} for _ in range(options.rounds)]
    ratios = {}
    for key in ("wall_seconds", "cpu_seconds", "compiling_seconds"):
        alone, shared = (statistics.median(each[name][key] for each in rounds) for name, _ in ways)
        ratios[key.replace("_seconds", "_ratio")] = round(shared / alone, 3)
        print(f"{key:<18} alone {alone:8.2f}   shared {shared:8.2f}   {shared / alone:.3f}x")
        print("    rounds", *(f"{each['shared'][key] / each['alone'][key]:.3f}x" for each in rounds))
    last = rounds[-1]["shared"]
    print(*(f"{key} {last[key]}" for key in ("kernels", "parsed", "front_ends", "compared")), sep=", ")
    return {"jobs": options.jobs, "models": options.model, "rounds": rounds, **ratios}


def build(options: argparse.Namespace, name: str, flags: list[str]) -> dict[str, Any]:
    place = options.work / name
    shutil.rmtree(place, ignore_errors=True)
    command = [sys.executable, "-m", "kregistry", "build", *arguments(options), "--json", "-j", str(options.jobs)]
    command += ["--store", str(place / "store"), "--cache-dir", str(place / "cache"), *flags]
    before, started = children_seconds(), time.perf_counter()
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    wall, cpu = time.perf_counter() - started, children_seconds() - before
    if done.returncode:
        sys.exit(done.stderr[-4000:])
    report = json.loads(done.stdout)
    return {
        "kernels": report["kernels"],
        "compiled": len(report["compiled"]),
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2),
        "compiling_seconds": report["compiling_seconds"],
        "parsed": len(report["sharing"]["parsed"]),
        "front_ends": len(report["sharing"]["front_ends"]),
        "compared": len(report["sharing"]["compared"]),
        "different": report["sharing"]["different"],
        "not_shared": report["sharing"]["not_shared"],
    }


def results(options: argparse.Namespace) -> dict[str, Any]:
    """Compare the results of every value of every entry with the cubins of both builds of `speed`, bit by bit.

    nvcc is blocked. The results of one build are kept beside its cubins, so that an interrupted run can continue.
    """
    found = {}
    for name in ("alone", "shared"):
        known = (
            options.work / name / f"results-{options.every}-{'-'.join([options.manifest.stem, *options.model])}.json"
        )
        if known.exists():
            found[name] = json.loads(known.read_text())
            continue
        command = [sys.executable, "-W", "ignore", str(ROOT / "benchmarks" / "result_digests.py")]
        command += ["--work", str(options.work / name), "--manifest", str(options.manifest)]
        command += [part for model in options.model for part in ("--model", model)]
        command += ["--every", str(options.every)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr[-4000:])
        found[name] = json.loads(done.stdout.splitlines()[-1])
        known.with_suffix(".new").write_text(json.dumps(found[name]))
        known.with_suffix(".new").rename(known)
    alone, shared = found["alone"]["entries"], found["shared"]["entries"]
    unequal = [entry for entry in alone if alone[entry] != shared[entry]]
    values, outputs = (sum(each[key] for each in alone.values()) for key in ("values", "outputs"))
    print(f"{len(alone)} entries, {values} values launched, {outputs} outputs compared, {len(unequal)} entries differ")
    print("compile attempts", {name: each["compile_attempts"] for name, each in found.items()})
    return {"models": options.model, "values": values, "outputs": outputs, "not_bit_equal": unequal, **found}


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Plan, then build and compare every kernel."""
    from kregistry import Registry, load_manifest
    from kregistry.compile.pipeline import Pipeline
    from kregistry.compile.shared.sharing_options import SharingOptions
    from kregistry.deep_gemm.jit_cache import JitCache
    from kregistry.plan.planner import make_plan
    from kregistry.store import Store
    from kregistry.toolchain import find_toolchain

    place = options.work / f"compare-{options.target}"
    shutil.rmtree(place, ignore_errors=True)
    registry, toolchain = Registry(), find_toolchain()
    if options.catalogue:
        sys.path.insert(0, str(ROOT))
        from tests.plugins.planned_counts import catalogue_manifest

        manifest = catalogue_manifest(registry, options.target)[0]
    else:
        manifest = load_manifest(options.manifest, registry, options.target).select(options.model)
    plan = make_plan(manifest, registry, toolchain=toolchain)
    families: dict[str, list[Any]] = defaultdict(list)
    for kernel in plan.kernels.values():
        families[kernel.name].append(kernel)
    chosen = [kernel for kernels in families.values() for kernel in kernels[: options.sample]]
    failed: Counter[str] = Counter()
    compared: dict[str, tuple[Any, str]] = {}
    not_shared: dict[str, tuple[Any, str]] = {}
    paranoid, cache = SharingOptions(paranoid=True), JitCache(place / "cache")
    for attempt in range(2):  # a kernel that does not compile breaks its group: repeat without it
        store = Store(place / f"store-{attempt}")
        with Pipeline(registry.events, store, cache, toolchain.cuda.nvcc, options.jobs, paranoid) as pipeline:
            for kernel in chosen:
                if kernel.key not in compared:
                    pipeline.add(kernel)
            pipeline.finish()
        sharing = pipeline.record.sharing()
        compared |= {each.kernel.key: (each.kernel, each.difference) for each in sharing.compared}
        not_shared |= {each.kernel.key: (each.kernel, each.reason) for each in sharing.not_shared}
        broken = {each.kernel.key for each in pipeline.record.failed}
        failed.update(each.kernel.name for each in pipeline.record.failed)
        chosen = [kernel for kernel in chosen if kernel.key not in broken]
        if not broken:
            break
    not_shared = {key: value for key, value in not_shared.items() if key not in compared and key not in broken}
    counts = Counter(kernel.name for kernel, _ in compared.values())
    different = Counter(kernel.name for kernel, difference in compared.values() if difference)
    alone = Counter(kernel.name for kernel, _ in not_shared.values())
    rows = {
        name: {
            "planned": len(kernels),
            "compared": counts[name],
            "identical": counts[name] - different[name],
            "not_shared": alone[name],
            "failed": failed[name],
        }
        for name, kernels in sorted(families.items())
    }
    for name, row in rows.items():
        print(f"{options.target:<14} {name:<44}", "  ".join(f"{key} {value}" for key, value in row.items()))
    return {
        "target": options.target,
        "versions": plan.versions.to_json(),
        "manifest": "the cases of docs/catalogue.md" if options.catalogue else options.manifest.name,
        "models": list(manifest.models),
        "families": rows,
        "differences": [{"id": kernel.id, "difference": found} for kernel, found in compared.values() if found],
        # Without the place where this machine has its packages.
        "reasons": sorted({re.sub(r"/\S*/site-packages/", "", reason) for _, reason in not_shared.values()}),
    }


def arguments(options: argparse.Namespace) -> list[str]:
    models = [part for model in options.model for part in ("--model", model)]
    return [str(options.manifest), "--target", options.target, *models]


def environment() -> dict[str, str]:
    hidden = {name: value for name, value in os.environ.items() if name != "KREGISTRY_NO_SHARED_FRONT_END"}
    return {**hidden, "CUDA_VISIBLE_DEVICES": ""}


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "speed": speed,
    "results": results,
    "compare": compare,
}

if __name__ == "__main__":
    main()
