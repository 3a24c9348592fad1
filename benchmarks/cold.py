"""Cold builds of one model by different ways, in turn on one machine: what the first and the last compiler wait for.

    python benchmarks/cold.py prepare --work DIR [--old CHECKOUT SITE]    plan, lock, disk cache: once, before rounds
    python benchmarks/cold.py rounds  --work DIR [--old CHECKOUT SITE] [--rounds 5] [--minutes 8] [--limit 240]
    python benchmarks/cold.py summary --work DIR    medians of all rounds so far
    python benchmarks/cold.py compare --work DIR    each cubin with nvcc's own, section by section
    python benchmarks/cold.py serve   --work DIR    on a GPU: every m, nvcc forbidden
    python benchmarks/cold.py all     --work DIR [--old CHECKOUT SITE] [--minutes 8]    prepare, rounds, serve

Each round builds once by each way, with an empty store and an empty JIT cache, in an order that turns:

    old      an older commit: CHECKOUT, installed in SITE (`pip install --no-deps --target SITE CHECKOUT`)
    bare     nothing is known: no lock file, nothing of what ships with the package
    headers  as for shapes that are in no gallery: of what ships, only the headers of the kernel types are known
    lock     a lock file with sources beside the manifest
    checked  the same, and the shipped results of self-checks
    shipped  no lock file, but all that ships with the package: the default for a model of the gallery

`prepare` says how much of what ships with the package fits this machine: without it, `checked` and `shipped` measure
nothing. `rounds` goes on where an earlier call ended, and stops before a build would take it over --minutes. A way that
fails, or takes longer than --limit seconds, is left out of the rest of the call. For each build `rounds` notes the wall
seconds, the start of the first compiler after the start of the command, the seconds in which compilers ran, the share
of their workers that had nothing to do meanwhile, and two bounds: max(sum of the kernels' seconds / jobs, longest
kernel), and the same with the headers and comparisons in the sum. The user's cache (compiled stub GPU, digests of
headers) and Python's bytecode are kept between builds. DIR/cold.json holds everything, after each build.

`all` and `serve` stop before the time is over, too: the same command again goes on there, until it says that nothing is
left. The launches of `serve` are noted in DIR/sweep.json, its results in DIR/hardware.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import children_seconds, commit_of, describe_host

import kregistry

ROOT = Path(__file__).resolve().parent.parent
WAYS = ("old", "bare", "headers", "lock", "checked", "shipped")
#: What each way of this commit leaves unused.
_UNUSED = {"bare": "1", "headers": "kernels", "lock": "1", "checked": "kernels", "shipped": ""}
#: Stages of compilers, in logs of builds.
_COMPILERS = ("parse", "generate", "assemble", "alone", "compare")
#: What is noted of a build, and its name in the table.
FIGURES = {
    **{"wall_seconds": "wall", "first_compiler_seconds": "first", "compiling_seconds": "compilers"},
    **{"bound_seconds": "bound", "over_bound": "over", "task_bound_seconds": "task bound", "over_task_bound": "over"},
    **{"idle_share": "idle", "cpu_seconds": "CPU"},
}
#: What `all` needs beside its builds and launches, in seconds: the start of a command, numeric checks, a last launch.
_SERVE_SECONDS = 45.0


class BuildFailed(Exception):
    """A command ended with an error, or not in time; the text is its command and the end of its output."""


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
    parser.set_defaults(seconds=None)
    parser.add_argument("--limit", type=float, default=240.0, help="seconds of one build, at most")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    # Commands run in other directories, and kregistry ignores relative entries of PYTHONPATH.
    options.work, options.manifest = options.work.absolute(), options.manifest.absolute()
    options.old = options.old and [each.absolute() for each in options.old]
    options.work.mkdir(parents=True, exist_ok=True)
    try:
        PARTS[options.part](options)
    except BuildFailed as error:
        sys.exit(str(error))


def prepare(options: argparse.Namespace) -> None:
    """The manifest with and without a lock file beside it; planning also brings torch into the disk cache.

    The older commit plans too: so it has compiled its stub GPU and its bytecode before its first build.
    """
    for name in ("bare", "lock"):
        (options.work / name).mkdir(exist_ok=True)
        shutil.copy(options.manifest, options.work / name / "kernels.yaml")
    command = [sys.executable, "-m", "kregistry", "plan", *_selection(options), "--store"]
    lock = options.work / "lock" / "kernels.lock"
    ways = {"new": str(lock), **({"old": str(options.work / "old.lock")} if options.old else {})}
    for way, file in ways.items():
        started = time.perf_counter()
        package = options.old[1] / "kregistry" if way == "old" else Path(kregistry.__file__).parent
        compiling = [sys.executable, "-m", "compileall", "-q", "-j", "0", str(package)]
        run(compiling, options.work, _variables(options, way), options.limit)
        store = str(options.work / f"prepared-{way}")
        run([*command, store, "--sources", "-o", file], options.work / "bare", _variables(options, way), options.limit)
        print(f"planned by {way}: {time.perf_counter() - started:.1f} s", flush=True)
    fits = _what_fits(options, lock)
    print(", ".join(f"{name} {value}" for name, value in fits.items()))
    old = (commit_of(options.old[0]) or options.old[0].name) if options.old else ""
    _keep(options, {**_kept(options), "old": old, "prepared": fits})


def _what_fits(options: argparse.Namespace, lock: Path) -> dict[str, Any]:
    """How much of what ships with the package is known to be right for this machine's compiler and headers."""
    from kregistry.compile.locked_kernels import locked_kernels
    from kregistry.compile.shared.kernel_family import member_of
    from kregistry.compile.shared.self_check_results import SelfCheckResults
    from kregistry.compile.shipped_kernels import shipped_families, shipped_kernels
    from kregistry.toolchain import find_toolchain

    toolchain = find_toolchain()
    manifest = kregistry.load_manifest(options.manifest, kregistry.Registry(), options.target).select([options.model])
    locked = locked_kernels(lock, toolchain.cuda.compiler).values()
    types = {entry.kernel_type for entry in manifest.entries}
    shipped = {kernel.key for kernel in shipped_kernels(manifest, toolchain)}
    families = {member_of(kernel).family for kernel in locked}
    results = SelfCheckResults(options.work / "nowhere", toolchain.cuda.nvcc)
    return {
        **{"compiler": str(toolchain.cuda.nvcc), **toolchain.versions.to_json()},
        "kernels": len(locked),
        "kernels that ship": sum(kernel.key in shipped for kernel in locked),
        "families": len(families),
        "families that need no self-check": sum(results.recall(family) is not None for family in families),
        "families whose headers are known": len(shipped_families(types, manifest.target, toolchain)),
    }


def everything(options: argparse.Namespace) -> None:
    """What one machine is asked for, within --minutes; the next call goes on where this one ends."""
    until = time.perf_counter() + 60 * options.minutes
    if "prepared" not in _kept(options):
        prepare(options)
    options.minutes = (until - time.perf_counter()) / 60
    if not rounds(options):
        return
    left = until - time.perf_counter() - _SERVE_SECONDS
    if left < 0:
        print("every build is done, and no launch: call this again")
        return
    options.seconds = left
    serve(options)


def rounds(options: argparse.Namespace) -> bool:
    """Builds in turn.

    Returns:
        whether all rounds are complete.
    """
    result = _kept(options)
    ways = [each for each in options.ways if each != "old" or options.old]
    failed: set[str] = set()
    began, longest = time.perf_counter(), 0.0
    for number in range(options.rounds):
        order = [ways[(place + number) % len(ways)] for place in range(len(ways))]
        done = {run["way"] for run in result["runs"] if run["round"] == number}
        for way in (each for each in order if each not in done | failed):
            if time.perf_counter() - began + 1.2 * longest > 60 * options.minutes:
                summary(options)
                print(f"round {number + 1} of {options.rounds} is not complete: call this again")
                return False
            started = time.perf_counter()
            try:
                result["runs"].append({"round": number, "way": way, **build(options, way)})
            except BuildFailed as error:
                failed.add(way)
                result["failures"] = [*result.get("failures", []), {"round": number, "way": way, "error": str(error)}]
                print(number + 1, way, "failed:", error, flush=True)
            else:
                longest = max(longest, time.perf_counter() - started)
                print(number + 1, _row(way, result["runs"][-1]), flush=True)
            _keep(options, result)
    summary(options)
    return True


def _kept(options: argparse.Namespace) -> dict[str, Any]:
    """What earlier calls have found."""
    file = options.work / "cold.json"
    found: dict[str, Any] = (
        {"machine": describe_host(), "runs": []} if not file.exists() else json.loads(file.read_text())
    )
    return found


def _keep(options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Replace the file at once: a call that is killed does not leave half of it."""
    new = options.work / "cold.json.new"
    new.write_text(json.dumps(result, indent=1) + "\n")
    new.replace(options.work / "cold.json")


def build(options: argparse.Namespace, way: str) -> dict[str, Any]:
    """One `kregistry build` in a new process."""
    place = options.work / "builds" / way
    shutil.rmtree(place, ignore_errors=True)
    directory = options.work / ("lock" if way in ("lock", "checked") else "bare")
    command = [sys.executable, "-m", "kregistry", "build", *_selection(options), "--json", "-j", str(options.jobs)]
    command += ["--store", str(place / "store"), "--cache-dir", str(place / "cache")]
    before, epoch, started = children_seconds(), time.time(), time.perf_counter()
    report = json.loads(run(command, directory, _variables(options, way), options.limit))
    wall, cpu = time.perf_counter() - started, children_seconds() - before
    tasks = [task for task in read_log(place / "store")["tasks"] if task["stage"] in _COMPILERS]
    seconds = [each["seconds"] for each in report["compiled"]]
    bound = max(sum(seconds) / options.jobs, max(seconds))
    busy = sum(task["seconds"] for task in tasks)
    task_bound = max(busy / options.jobs, max(seconds))
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
        "idle_share": round(1 - busy / options.jobs / report["compiling_seconds"], 3),
        "cpu_seconds": round(cpu, 1),
        "sum_seconds": round(sum(seconds), 1),
        "longest_seconds": max(seconds),
        "compared": len(report["sharing"]["compared"]),
        "tasks": [_task(task, epoch) for task in tasks],
    }


def _task(task: dict[str, Any], epoch: float) -> list[Any]:
    """Stage, worker, headers, number of kernels, start after the start of the command, seconds."""
    kernels, started = len(task["kernels"]), round(task["started"] - epoch, 3)
    return [task["stage"], task["worker"], task["text"], kernels, started, task["seconds"]]


def summary(options: argparse.Namespace) -> None:
    """The medians of all rounds by way; seconds, and shares."""
    result = _kept(options)
    medians: dict[str, dict[str, float]] = {}
    print(f"{'way':<10}", *(f"{name:>10}" for name in FIGURES.values()), "    rounds")
    for way in WAYS:
        runs = [run for run in result["runs"] if run["way"] == way]
        if runs:
            medians[way] = {key: round(statistics.median(run[key] for run in runs), 3) for key in FIGURES}
            medians[way]["rounds"] = len(runs)
            print(_row(way, medians[way]), f"{len(runs):>10}")
    _keep(options, {**result, "medians": medians})


def _row(way: str, figures: dict[str, Any]) -> str:
    return " ".join([f"{way:<10}", *(f"{figures[key]:>10}" for key in FIGURES)])


def compare(options: argparse.Namespace) -> None:
    """Each kernel of the model by both ways: must be the same (shared_front_end.py compare)."""
    _other("shared_front_end.py", "compare", options, "--target", options.target)


def serve(options: argparse.Namespace) -> None:
    """The kernels of the last way on this GPU: every m of every entry, nvcc forbidden (hardware.py serve).

    Numbers are compared at the first values of each entry only.
    """
    built = [place for way in reversed(WAYS[1:]) if (place := options.work / "builds" / way).exists()]
    for name in ("store", "cache"):
        if not (options.work / name).exists():
            shutil.copytree(built[0] / name, options.work / name)
    seconds = options.seconds or 60 * options.minutes - _SERVE_SECONDS
    _other("hardware.py", "serve", options, "--checks", "2", "--seconds", str(max(0.0, seconds)))


def _other(script: str, part: str, options: argparse.Namespace, *arguments: str) -> None:
    command = [sys.executable, "-W", "ignore", str(ROOT / "benchmarks" / script), part, "--work", str(options.work)]
    command += ["--manifest", str(options.manifest), "--model", options.model, *arguments]
    sys.exit(subprocess.run(command, check=False).returncode)


def _selection(options: argparse.Namespace) -> list[str]:
    return ["kernels.yaml", "--model", options.model, "--target", options.target]


def _variables(options: argparse.Namespace, way: str) -> dict[str, str]:
    """The environment variables of a way. Bytecode is kept below --work: installations may be unwritable."""
    own = {"PYTHONPATH": str(options.old[1])} if way == "old" else {"KREGISTRY_NO_SHIPPED": _UNUSED.get(way, "")}
    return {"PYTHONPYCACHEPREFIX": str(options.work / "bytecode"), **own}


def run(command: list[str], directory: Path, variables: dict[str, str], limit: float) -> str:
    """The output of a command on no GPU, in a directory.

    Raises:
        BuildFailed: it fails, or takes longer than ``limit`` seconds.
    """
    paths = (variables.pop("PYTHONPATH", ""), *os.environ.get("PYTHONPATH", "").split(os.pathsep))
    path = os.pathsep.join(str(Path(each).absolute()) for each in paths if each)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **({"PYTHONPATH": path} if path else {}), **variables}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as after an installation
    started = subprocess.Popen(
        command, env=environment, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        output, errors = started.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        started.terminate()  # it ends its compilers
        output, errors = started.communicate()
        raise BuildFailed(f"{' '.join(command)}\nnot done after {limit} s: {errors[-2000:]}") from None
    if started.returncode:
        raise BuildFailed(f"{' '.join(command)}\n{output[-2000:]}{errors[-4000:]}")
    return output


def read_log(store: Path) -> dict[str, Any]:
    (path,) = (store / "builds").glob("*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


PARTS: dict[str, Callable[[argparse.Namespace], object]] = {
    **{"prepare": prepare, "rounds": rounds, "summary": summary, "compare": compare, "serve": serve},
    "all": everything,
}

if __name__ == "__main__":
    main()
