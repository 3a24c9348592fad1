"""`kregistry.warmup(barrier="torch.distributed")` on several real ranks: one builds, all load.

    python benchmarks/two_ranks.py --work DIR --out DIR/two-ranks.json [--steps cold,warm,killed,resumed]

Every step starts one process for each rank, with one GPU each, and ends within --limit seconds:

cold     the store and DeepGEMM's JIT cache are empty: rank 0 builds, and all ranks load
warm     once more, with new processes: nobody builds
killed   empty again; rank 0 is killed as soon as one kernel is compiled: the others end after --barrier-seconds
resumed  after `killed`: rank 0 builds what is missing

The JSON file has, for each step and rank, the seconds and the report of the warm-up, and for each step whether it came
out as above. The exit code is 1 if a step did not. On a machine without enough GPUs (the stub GPU too) use
`--backend gloo`: ranks then share a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

MANIFEST = """\
version: 1
target: detect
models:
  two-ranks:
    kernels:
      - {type: fp8_gemm_nt, shape: {n: 2112, k: 7168}, m: {start: 1, stop: 4096}}
      - {type: fp8_gemm_nt, shape: {n: 7168, k: 2048}, m: {start: 1, stop: 4096}}
      - {type: m_grouped_fp8_gemm_nt_masked, shape: {num_groups: 9, n: 4096, k: 7168}, expected_m: {stop: 512}}
"""
STEPS = ("cold", "warm", "killed", "resumed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="directory for the store, the JIT cache and logs")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--steps", default="cold,warm", help=f"of {','.join(STEPS)}")
    parser.add_argument("--backend", default="nccl", help="of torch.distributed")
    parser.add_argument("--manifest", type=Path, help="default: three entries, written to --work")
    parser.add_argument("--limit", type=float, default=60, help="seconds that one step may take")
    parser.add_argument("--barrier-seconds", type=float, default=45, help="how long a rank waits for rank 0")
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.work = options.work.resolve()
    if options.rank is not None:
        run_rank(options)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the ranks end too
    options.work.mkdir(parents=True, exist_ok=True)
    if options.manifest is None:
        options.manifest = options.work / "two-ranks.yaml"
        options.manifest.write_text(MANIFEST)
    found = {step: run_step(options, step) for step in options.steps.split(",")}
    options.out.write_text(json.dumps({"ranks": options.ranks, "backend": options.backend, **found}, indent=1) + "\n")
    sys.exit(0 if all(each["as_expected"] for each in found.values()) else 1)


def run_step(options: argparse.Namespace, step: str) -> dict[str, Any]:
    """One process for each rank, until all have ended or the limit is reached."""
    store, cache = options.work / "store", options.work / "jit"
    if step in ("cold", "killed"):
        for each in (store, cache):
            shutil.rmtree(each, ignore_errors=True)
    place = options.work / step
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    before = kernels(cache)
    environment = {**os.environ, "KREGISTRY_STORE": str(store), "DG_JIT_CACHE_DIR": str(cache)}
    environment.setdefault("NCCL_NVLS_ENABLE", "0")  # NVLink multicast is not allowed on every machine
    began = time.perf_counter()
    processes = []
    for rank in range(options.ranks):
        own = [sys.executable, __file__, "--rank", str(rank), "--step", step, "--ranks", str(options.ranks)]
        own += ["--work", str(options.work), "--out", str(options.out), "--manifest", str(options.manifest)]
        own += ["--backend", options.backend, "--barrier-seconds", str(options.barrier_seconds)]
        with (place / f"rank-{rank}.log").open("w") as log:
            processes.append(
                subprocess.Popen(own, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            )
    killed_s = None
    try:
        while time.perf_counter() - began < options.limit and any(each.poll() is None for each in processes):
            if step == "killed" and killed_s is None and kernels(cache) and processes[0].poll() is None:
                processes[0].kill()
                killed_s = round(time.perf_counter() - began, 2)
            time.sleep(0.05)
        seconds = round(time.perf_counter() - began, 2)
    finally:
        for each in processes:  # those that the limit ends, and the compilers of a rank that was killed
            with suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)
    codes = [each.wait() for each in processes]
    ranks = [read(place / f"rank-{rank}.json") for rank in range(options.ranks)]
    result: dict[str, Any] = {"seconds": seconds, "exit_codes": codes, "kernels_before": before, "ranks": ranks}
    if killed_s is not None:
        result |= {"killed_s": killed_s, "ended_after_s": round(seconds - killed_s, 2)}
    result["kernels_after"] = kernels(cache)
    result["as_expected"] = as_expected(step, result, options.limit)
    print(step, json.dumps(result), flush=True)
    if not result["as_expected"]:
        for path in sorted(place.glob("*.log")):
            print(f"---- {path}\n{path.read_text(errors='replace')[-3000:]}", flush=True)
    return result


def as_expected(step: str, result: dict[str, Any], limit: float) -> bool:
    ranks = result["ranks"]
    if step == "killed":
        return result.get("killed_s") is not None and result["seconds"] < limit and all(result["exit_codes"])
    if any(result["exit_codes"]):
        return False
    built, total = ranks[0]["built"], ranks[0]["report"]["kernels"]
    loads = all(each["report"]["loaded"] == total and not each["report"]["compiled"] for each in ranks)
    others_idle = all(each["built"] == 0 for each in ranks[1:])
    return loads and others_idle and {"cold": built == total, "warm": built == 0}.get(step, 0 < built <= total)


def kernels(cache: Path) -> int:
    """Kernels in DeepGEMM's JIT cache."""
    place = cache / "cache"
    return sum(each.name.startswith("kernel.") for each in place.iterdir()) if place.is_dir() else 0


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def run_rank(options: argparse.Namespace) -> None:
    """In the process of one rank: join the group, warm up, and leave a JSON file."""
    import logging

    import torch
    import torch.distributed as distributed

    import kregistry

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    place = options.work / options.step
    began = time.perf_counter()
    torch.cuda.set_device(options.rank % torch.cuda.device_count())
    distributed.init_process_group(
        options.backend,
        init_method=f"file://{place}/rendezvous",
        rank=options.rank,
        world_size=options.ranks,
    )
    distributed.barrier()
    joined = time.perf_counter()
    result: dict[str, Any] = {
        "rank": options.rank,
        "device": torch.cuda.get_device_name(),
        "joined_s": round(joined - began, 3),
    }
    try:
        report = kregistry.warmup(
            options.manifest,
            rank=distributed.get_rank(),
            barrier="torch.distributed",
            barrier_seconds=options.barrier_seconds,
        )
        report.raise_problems()
    except Exception as error:
        result |= {"warmup_s": round(time.perf_counter() - joined, 3), "error": f"{type(error).__name__}: {error}"}
        leave(place, result, 1)
    result |= {
        "warmup_s": round(time.perf_counter() - joined, 3),
        "built": len(report.build.compiled) if report.build else 0,
        "launch_s": round(report.seconds, 3),
        "report": report.to_json(),
    }
    distributed.barrier()
    leave(place, result, 0)


def leave(place: Path, result: dict[str, Any], code: int) -> None:
    """Write the result and end at once: a collective that never returns would keep the process."""
    (place / f"rank-{result['rank']}.json").write_text(json.dumps(result))
    print(json.dumps(result), flush=True)
    os._exit(code)


if __name__ == "__main__":
    main()
