"""Measurements on a real GPU: cold build, warm-up, every value of every entry without a compiler, numerics, peers.

    python benchmarks/hardware.py cold  --work DIR     build from nothing, no GPU visible
    python benchmarks/hardware.py serve --work DIR     warm up, then every m of every entry, nvcc blocked; numerics
    python benchmarks/hardware.py start --work DIR     a server's next start: kregistry.warmup() in a fresh process
    python benchmarks/hardware.py peer-warm --work DIR the loop of engines at every start: every m, warm cache
    python benchmarks/hardware.py peer-cold --work DIR the same with an empty cache: one process, every m in turn

Each adds its numbers to DIR/hardware.json and prints a short table. Run `cold` first, the others need its kernels.

The launches of `serve` take as long as the GPU computes: two minutes for `deepseek-v3`. With --seconds it stops before
the rest is launched, and the next call goes on there (DIR/sweep.json). Numbers are compared when all are launched.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measuring import ROOT, describe_machine
from sweep import Sweep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--work", type=Path, required=True, help="directory for store, caches and results")
    parser.add_argument("--manifest", type=Path, default=ROOT / "kernels.yaml")
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--stop", type=int, help="cut every range at this value (for a trial)")
    parser.add_argument("--checks", type=int, default=10_000, help="numeric checks for each entry, at most")
    parser.add_argument("--seconds", type=float, help="serve: stop launching after this time; the next call goes on")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    results_file = options.work / "hardware.json"
    results: dict[str, Any] = json.loads(results_file.read_text()) if results_file.exists() else {}
    part = PARTS[options.part](options)
    results.setdefault("machine", describe_machine())
    results[options.part] = part
    results_file.write_text(json.dumps(results, indent=1) + "\n")
    width = max(map(len, part))
    for name, value in part.items():
        if not isinstance(value, (list, dict)):
            print(f"{options.part}  {name:<{width}}  {value}")


# ---- kregistry -------------------------------------------------------------------------------------------------------


def cold(options: argparse.Namespace) -> dict[str, Any]:
    """`kregistry build` in a new process with no visible GPU; includes imports and planning."""
    command = [sys.executable, "-m", "kregistry", "build", str(options.manifest), "--target", "h100", "--json"]
    command += ["--store", str(options.work / "store"), "--cache-dir", str(options.work / "cache")]
    command += [part for model in options.model for part in ("--model", model)]
    started = time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - started
    if done.returncode:
        sys.exit(done.stderr[-4000:])
    report = json.loads(done.stdout)
    seconds = [each["seconds"] for each in report["compiled"]]
    cores = len(os.sched_getaffinity(0))
    bound = max(sum(seconds) / cores, max(seconds, default=0.0))
    started = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    again = time.perf_counter() - started
    return {
        "kernels": report["kernels"],
        "compiled": len(seconds),
        "wall_seconds": round(wall, 2),
        "nvcc_seconds_sum": round(sum(seconds), 1),
        "nvcc_seconds_longest": max(seconds, default=0.0),
        "bound_seconds": round(bound, 2),
        "compiling_seconds": report["compiling_seconds"],
        "compiling_over_bound": round(report["compiling_seconds"] / bound, 3) if bound else None,
        "wall_over_bound": round(wall / bound, 3) if bound else None,
        "again_wall_seconds": round(again, 2),
    }


def serve(options: argparse.Namespace) -> dict[str, Any]:
    """Warm up in this process, then call every value of every range. Compile attempts fail and are counted."""
    log = forbid_compiler(options.work)
    import torch

    import kregistry

    registry = kregistry.Registry()
    manifest = manifest_of(options, registry)
    started = time.perf_counter()
    report = kregistry.warmup(
        manifest, registry=registry, store=options.work / "store", cache_dir=options.work / "cache"
    )
    warm_wall = time.perf_counter() - started
    report.raise_problems()
    swept = Sweep(options.work / "sweep.json", manifest)
    swept.run(registry, options.seconds)
    attempts = len(log.read_text().splitlines()) if log.exists() else 0
    swept.add_compile_attempts(attempts)
    if swept.missing:
        checks, worst, failures = 0, {}, []
    else:
        checks, worst, failures = check_numerics(manifest, registry, options.checks)
    torch.cuda.synchronize()
    return {
        "kernels": report.total,
        "kernels_loaded": len(report.loaded),
        "launches": len(report.launches),
        "warmup_launch_seconds": round(report.seconds, 4),
        "warmup_wall_seconds_with_planning": round(warm_wall, 2),
        "warmup_peak_bytes": report.peak_bytes,
        "every_m_calls": swept.calls,
        "every_m_missing": swept.missing,
        "every_m_seconds": round(swept.seconds, 2),
        "compile_attempts": swept.compile_attempts,
        "new_cache_entries": len(report.compiled),
        "numeric_checks": checks,
        "numeric_failures": len(failures),
        "numeric_failure_list": failures,
        "worst_difference": worst,
    }


def start(options: argparse.Namespace) -> dict[str, Any]:
    """The whole call in a new process, after an earlier start has planned and built. torch is imported before."""
    forbid_compiler(options.work)
    os.environ["DG_JIT_CACHE_DIR"] = str(options.work / "cache")
    import deep_gemm  # noqa: F401
    import torch

    import kregistry

    torch.empty(1, device="cuda")
    started = time.perf_counter()
    registry = kregistry.Registry()
    manifest = manifest_of(options, registry)
    report = kregistry.warmup(
        manifest, registry=registry, store=options.work / "store", cache_dir=options.work / "cache"
    )
    wall = time.perf_counter() - started
    report.raise_problems()
    return {
        "kernels": report.total,
        "kernels_loaded": len(report.loaded),
        "planned_and_built_again": report.build is not None,
        "launch_seconds": round(report.seconds, 4),
        "wall_seconds": round(wall, 3),
        "new_cache_entries": len(report.compiled),
    }


def check_numerics(manifest: Any, registry: Any, limit: int) -> tuple[int, dict[str, float], list[str]]:
    """Compare with the reference at the first and last value of the first segment of each distinct kernel."""
    import torch

    from kregistry.conformance.comparison import difference
    from kregistry.conformance.trial import results_of
    from kregistry.deep_gemm.settings import applied
    from kregistry.plan.planner import make_plan

    plan = make_plan(manifest, registry)
    generator = torch.Generator("cuda").manual_seed(0)
    worst: dict[str, float] = {}
    failures: list[str] = []
    checks = 0
    for planned in plan.entries:
        entry, kernel_type = planned.entry, registry[planned.entry.kernel_type]
        for m in list(values_to_check(planned))[:limit]:
            buffers = kernel_type.allocate_buffers(entry.shape, m)
            for output in kernel_type.outputs(buffers, m).values():
                output.fill_(float("nan") if output.is_floating_point() else -1)
            kernel_type.fill(buffers, m, generator)  # a launch that adds to its output adds to these values
            reference = {name: each.clone() for name, each in kernel_type.reference(buffers, m).items()}
            with applied(kernel_type, entry.shape):
                value = kernel_type.execute(buffers, m)
            results = results_of(kernel_type, buffers, m, value)
            for name, expected in reference.items():
                found = difference(results[name], expected)
                key = f"{entry.kernel_type}.{name}"
                worst[key] = max(worst.get(key, 0.0), found)
                checks += 1
                if not found <= kernel_type.proof.tolerance:
                    failures.append(f"{entry} at {m}: {name} differs by {found}")
            del buffers, results, reference
    return checks, worst, failures


def values_to_check(planned: Any) -> Iterator[int]:
    seen: set[str] = set()
    for segment in planned.segments:
        if not seen.issuperset(segment.kernels):
            seen.update(segment.kernels)
            yield segment.start
            if segment.stop != segment.start:
                yield segment.stop


# ---- the peer: one process, every m in turn --------------------------------------------------------------------------


def peer_warm(options: argparse.Namespace) -> dict[str, Any]:
    forbid_compiler(options.work)
    return peer_loop(options, options.work / "cache")


def peer_cold(options: argparse.Namespace) -> dict[str, Any]:
    return peer_loop(options, options.work / "peer-cache")


def peer_loop(options: argparse.Namespace, cache: Path) -> dict[str, Any]:
    """The loop of an engine at every start: each shape and each m, through DeepGEMM's own function."""
    from kregistry.toolchain import find_cuda_toolkit

    os.environ.setdefault("CUDA_HOME", str(find_cuda_toolkit().home))
    os.environ["DG_JIT_CACHE_DIR"] = str(cache)
    started = time.perf_counter()
    import deep_gemm  # noqa: F401
    import torch

    import kregistry

    torch.empty(1, device="cuda")
    imported = time.perf_counter()
    registry = kregistry.Registry()
    manifest = manifest_of(options, registry)
    loop = time.perf_counter()
    calls = 0
    for entry in manifest.entries:
        kernel_type = registry[entry.kernel_type]
        function = kernel_type.function()
        values = entry.range.values()
        buffers = kernel_type.allocate_buffers(entry.shape, values[-1])
        for m in values:
            call = kernel_type.arguments(buffers, m)
            function(*call.args, **call.kwargs)
        calls += len(values)
        torch.cuda.synchronize()
        del buffers
        torch.cuda.empty_cache()
    done = time.perf_counter()
    return {
        "calls": calls,
        "loop_seconds": round(done - loop, 2),
        "wall_seconds": round(done - started, 2),
        "import_seconds": round(imported - started, 2),
        "kernels": sum(1 for _ in (cache / "cache").iterdir()),
    }


# ---- shared ----------------------------------------------------------------------------------------------------------


def manifest_of(options: argparse.Namespace, registry: Any) -> Any:
    from attrs import evolve

    import kregistry

    manifest = kregistry.load_manifest(options.manifest, registry, "detect").select(options.model)
    if options.stop is None:
        return manifest
    entries = tuple(
        evolve(entry, range=evolve(entry.range, stop=min(entry.range.stop, max(options.stop, entry.range.start))))
        for entry in manifest.entries
    )
    return evolve(manifest, entries=entries)


def forbid_compiler(work: Path) -> Path:
    """Replace DeepGEMM's compiler by a script that only says its version and its steps.

    Returns:
        its log of refused commands.
    """
    from kregistry.toolchain import find_cuda_toolkit

    toolkit = find_cuda_toolkit()
    script, log = work / "forbidden_nvcc.sh", work / "compile_attempts.log"
    log.unlink(missing_ok=True)
    script.write_text(
        f'#!/bin/sh\ncase "$1" in --version | --dryrun) exec "{toolkit.nvcc}" "$@" ;; esac\n'
        f'echo "$@" >>"{log}"\necho "compiling is forbidden" >&2\nexit 1\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    os.environ["DG_JIT_NVCC_COMPILER"] = str(script)
    os.environ.setdefault("CUDA_HOME", str(toolkit.home))
    return log


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "cold": cold,
    "serve": serve,
    "start": start,
    "peer-warm": peer_warm,
    "peer-cold": peer_cold,
}

if __name__ == "__main__":
    main()
