"""Cold builds of one model by different ways, in turn on one machine: what the first and the last compiler wait for.

    python benchmarks/cold.py prepare --work DIR    plan, lock, disk cache: once, before the rounds
    python benchmarks/cold.py rounds  --work DIR [--old CHECKOUT SITE] [--rounds 5] [--minutes 8]
    python benchmarks/cold.py summary --work DIR    medians of all rounds so far
    python benchmarks/cold.py compare --work DIR    each cubin with nvcc's own, section by section
    python benchmarks/cold.py serve   --work DIR    on a GPU: every m, nvcc forbidden

Each round builds once by each way, with an empty store and an empty JIT cache, in an order that turns:

    old      an older commit, installed in SITE (`pip install --target SITE CHECKOUT`)
    bare     nothing is known: no lock file, nothing of what ships with the package
    headers  as for shapes that are in no gallery: of what ships, only the headers of the kernel types are known
    lock     a lock file with sources beside the manifest
    checked  the same, and the shipped results of self-checks
    shipped  no lock file, but all that ships with the package: the default for a model of the gallery

`rounds` goes on where an earlier call ended, and stops before a round would take it over --minutes. For each build it
notes the wall seconds, the start of the first compiler after the start of the command, the seconds in which compilers
ran, and two bounds for them: max(sum of the kernels' seconds / jobs, longest kernel), and the same with the headers and
comparisons in the sum. The user's cache (compiled stub GPU, digests of headers) is kept between builds; DIR/cold.json
holds everything.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hardware import describe_host

ROOT = Path(__file__).resolve().parent.parent
WAYS = ("old", "bare", "headers", "lock", "checked", "shipped")
#: What each way of this commit leaves unused.
_UNUSED = {"bare": "1", "headers": "kernels", "lock": "1", "checked": "kernels", "shipped": ""}
#: Stages of compilers, in logs of builds.
_COMPILERS = ("parse", "generate", "assemble", "alone", "compare")
FIGURES = (
    *("wall_seconds", "first_compiler_seconds", "compiling_seconds", "bound_seconds", "over_bound"),
    *("task_bound_seconds", "over_task_bound", "cpu_seconds"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--work", type=Path, required=True, help="directory for stores, caches and results")
    parser.add_argument("--manifest", type=Path, default=ROOT / "kernels.yaml")
    parser.add_argument("--model", default="deepseek-v3")
    parser.add_argument("--target", default="h200")
    parser.add_argument("--old", type=Path, nargs=2, metavar=("CHECKOUT", "SITE"), help="an older commit, installed")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=WAYS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    PARTS[options.part](options)


def prepare(options: argparse.Namespace) -> None:
    """The manifest with and without a lock file beside it; planning also brings torch into the disk cache."""
    for name in ("bare", "lock"):
        (options.work / name).mkdir(exist_ok=True)
        shutil.copy(options.manifest, options.work / name / "kernels.yaml")
    store = options.work / "prepared"
    command = [sys.executable, "-m", "kregistry", "plan", *_selection(options), "--store", str(store)]
    lock = options.work / "lock" / "kernels.lock"
    run([*command, "--sources", "-o", str(lock)], options.work / "bare", {})
    print(f"{lock}: {lock.stat().st_size} bytes, {len(json.loads(lock.read_text())['kernels'])} kernels")


def rounds(options: argparse.Namespace) -> None:
    """Builds in turn; the first call also builds once by each way without noting it, so that all start alike."""
    file = options.work / "cold.json"
    result: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"machine": describe_host(), "runs": []}
    ways = [each for each in options.ways if each != "old" or options.old]
    began, longest = time.perf_counter(), 0.0
    for number in range(options.rounds):
        order = [ways[(place + number) % len(ways)] for place in range(len(ways))]
        done = {run["way"] for run in result["runs"] if run["round"] == number}
        for way in (each for each in order if each not in done):
            if time.perf_counter() - began + 1.2 * longest > 60 * options.minutes:
                print(f"round {number + 1} of {options.rounds} is not complete: call this again")
                return
            started = time.perf_counter()
            result["runs"].append({"round": number, "way": way, **build(options, way)})
            longest = max(longest, time.perf_counter() - started)
            file.write_text(json.dumps(result, indent=1) + "\n")
            print(number + 1, way, *(f"{key} {result['runs'][-1][key]}" for key in FIGURES), flush=True)
    summary(options)


def build(options: argparse.Namespace, way: str) -> dict[str, Any]:
    """One `kregistry build` in a new process."""
    place = options.work / "builds" / way
    shutil.rmtree(place, ignore_errors=True)
    directory = options.work / ("lock" if way in ("lock", "checked") else "bare")
    command = [sys.executable, "-m", "kregistry", "build", *_selection(options), "--json", "-j", str(options.jobs)]
    command += ["--store", str(place / "store"), "--cache-dir", str(place / "cache")]
    variables = {"PYTHONPATH": str(options.old[1])} if way == "old" else {"KREGISTRY_NO_SHIPPED": _UNUSED[way]}
    before, epoch, started = children_seconds(), time.time(), time.perf_counter()
    report = json.loads(run(command, directory, variables))
    wall, cpu = time.perf_counter() - started, children_seconds() - before
    tasks = [task for task in read_log(place / "store")["tasks"] if task["stage"] in _COMPILERS]
    seconds = [each["seconds"] for each in report["compiled"]]
    bound = max(sum(seconds) / options.jobs, max(seconds))
    task_bound = max(sum(task["seconds"] for task in tasks) / options.jobs, max(seconds))
    return {
        "kernels": report["kernels"],
        "compiled": len(seconds),
        "wall_seconds": round(wall, 2),
        "first_compiler_seconds": round(min(task["started"] for task in tasks) - epoch, 3),
        "compiling_seconds": report["compiling_seconds"],
        "bound_seconds": round(bound, 2),
        "over_bound": round(report["compiling_seconds"] / bound, 3),
        "task_bound_seconds": round(task_bound, 2),
        "over_task_bound": round(report["compiling_seconds"] / task_bound, 3),
        "cpu_seconds": round(cpu, 1),
        "sum_seconds": round(sum(seconds), 1),
        "longest_seconds": max(seconds),
        "compared": len(report["sharing"]["compared"]),
        "tasks": [[task["stage"], task["text"], len(task["kernels"]), task["seconds"]] for task in tasks],
    }


def summary(options: argparse.Namespace) -> None:
    """The medians of all rounds by way."""
    file = options.work / "cold.json"
    result = json.loads(file.read_text())
    medians: dict[str, dict[str, float]] = {}
    for way in WAYS:
        runs = [run for run in result["runs"] if run["way"] == way]
        if runs:
            medians[way] = {key: round(statistics.median(run[key] for run in runs), 3) for key in FIGURES}
            medians[way]["rounds"] = len(runs)
            print(f"{way:<8}", *(f"{key} {value}" for key, value in medians[way].items()))
    file.write_text(json.dumps({**result, "medians": medians}, indent=1) + "\n")


def compare(options: argparse.Namespace) -> None:
    """Each kernel of the model by both ways: must be the same (shared_front_end.py compare)."""
    _other("shared_front_end.py", "compare", options, "--target", options.target)


def serve(options: argparse.Namespace) -> None:
    """The kernels of the way `shipped` on this GPU: every m of every entry, nvcc forbidden (hardware.py serve)."""
    for name in ("store", "cache"):
        if not (options.work / name).exists():
            shutil.copytree(options.work / "builds" / "shipped" / name, options.work / name)
    _other("hardware.py", "serve", options)


def _other(script: str, part: str, options: argparse.Namespace, *arguments: str) -> None:
    command = [sys.executable, "-W", "ignore", str(ROOT / "benchmarks" / script), part, "--work", str(options.work)]
    command += ["--manifest", str(options.manifest), "--model", options.model, *arguments]
    sys.exit(subprocess.run(command, check=False).returncode)


def _selection(options: argparse.Namespace) -> list[str]:
    return ["kernels.yaml", "--model", options.model, "--target", options.target]


def run(command: list[str], directory: Path, variables: dict[str, str]) -> str:
    """The output of a command on no GPU, in a directory; it ends this program if it fails."""
    path = os.pathsep.join(filter(None, (variables.pop("PYTHONPATH", ""), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **({"PYTHONPATH": path} if path else {}), **variables}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as after an installation
    done = subprocess.run(command, env=environment, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def read_log(store: Path) -> dict[str, Any]:
    (path,) = (store / "builds").glob("*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


PARTS = {"prepare": prepare, "rounds": rounds, "summary": summary, "compare": compare, "serve": serve}

if __name__ == "__main__":
    main()
