"""A real SGLang or vLLM server, with and without kregistry: time until ready, and compiles in live traffic.

    python benchmarks/real_server.py run      --work DIR --arms kregistry:cold,kregistry:warm,no-warm-up:warm
    python benchmarks/real_server.py table    --work DIR
    python benchmarks/real_server.py rehearse --work DIR --model deepseek-v3

`run` starts a server for each arm in turn, with dummy weights of a model that is cut to a few layers, waits until it is
ready, sends real HTTP requests of growing lengths and bursts, and counts the kernels in DeepGEMM's JIT cache before, at
ready, and after. It adds one line to DIR/results.jsonl as each arm ends, so an interrupted run keeps what it has, and
prints a summary of it. At `--until` it stops asking, and begins no arm that would end later.
`table` prints a table of all lines of each results.jsonl in DIR and below, with the ratio of the bursts of each arm to
those of `no-warm-up`. So the results of several commands, perhaps on several machines, are copied to folders of DIR.

`rehearse` runs the same engine with the same arguments on the stub GPU, and writes benchmarks/manifests/.

An arm is WHO:STATE. WHO is `kregistry`, `engine` (the engine's own warm-up, kregistry off), `no-warm-up` (neither), or
`manifest` (neither, and before the start the kernels of the rehearsed manifest are built into DeepGEMM's JIT cache: the
rehearsal has not seen what is compiled after that).
STATE is `cold` (its JIT cache and kregistry's store are emptied before) or `warm` (they stay; `no-warm-up` uses the
kernels of another arm). `kregistry:killed` is a cold start in which the last rank is killed while kernels are built.
The engine is the one that Python imports, of any version. Arguments behind `--` go to the server. On a GPU machine
without a package index, real_server_setup.sh unpacks an engine that real_server_pack.sh has packed elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from real_server_parts import models, servers, table, traffic

WARM_UP_OFF = {
    "sglang": {"KREGISTRY": "0", "SGLANG_JIT_DEEPGEMM_PRECOMPILE": "0"},
    "vllm": {"KREGISTRY": "0", "VLLM_DEEP_GEMM_WARMUP": "skip"},
}
STATES = ("cold", "warm", "killed")
WHO = ("kregistry", "engine", "no-warm-up", "manifest")
MANIFESTS = Path(__file__).resolve().parent / "manifests"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("run", "table", "rehearse"))
    parser.add_argument("--work", type=Path, required=True, help="directory for caches, stores, logs and results")
    parser.add_argument("--engine", choices=("sglang", "vllm"), default="sglang")
    parser.add_argument("--model", choices=models.MODELS, default="deepseek-v3")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--tp", type=int, default=1)
    parser.add_argument("--arms", default="kregistry:cold,kregistry:warm,no-warm-up:warm")
    parser.add_argument("--rounds", type=int, default=1, help="how often all arms are run in turn")
    parser.add_argument("--bursts", type=int, default=3, help="bursts of 128 requests in each arm, 32 at once")
    parser.add_argument("--longest", type=int, default=4000, help="longest prompt in tokens")
    parser.add_argument("--limit", type=float, default=300, help="seconds that one server may take to be ready")
    parser.add_argument("--until", type=float, default=520, help="seconds for all arms; what takes longer is left out")
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="for every server; part of a row"
    )
    parser.add_argument("--target", default="h200", help="the GPU of a rehearsal")
    parser.add_argument("--manifests", type=Path, default=MANIFESTS, help="where rehearsed manifests are")
    parser.add_argument("--copy", type=Path, help="a directory that results and logs are copied to as well")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:end])
    options.server = words[end + 1 :]
    arms = [tuple(each.partition(":")[::2]) for each in options.arms.split(",")]
    for who, state in arms:
        if who not in WHO or state not in STATES:
            parser.error(f"an arm is one of {', '.join(WHO)}, with :cold, :warm or :killed; found {who}:{state}")
    if options.part == "table":
        print(table.table(table.read(options.work)))
        return
    options.work = options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.part == "rehearse":
        rehearse(options)
        return
    limit = options.limit
    options.ends = time.monotonic() + options.until
    longest: dict[tuple[str, ...], float] = {}
    for arm in arms * options.rounds:
        began = time.monotonic()
        left = options.ends - began
        if left < max(1, longest.get(arm, min(longest.values(), default=0))):
            print(f"no time left for {':'.join(arm)}: {left:.0f} s of --until", flush=True)
            continue
        options.limit = min(limit, left)
        keep(options, run_arm(options, *arm))
        longest[arm] = max(longest.get(arm, 0), time.monotonic() - began)
    print(table.table(table.read(options.work)))


def run_arm(options: argparse.Namespace, who: str, state: str) -> dict[str, Any]:
    """Start a server, measure it, end it."""
    place = options.work / f"{options.engine}-{options.model}-{options.layers}-tp{options.tp}"
    caches = servers.caches(place, who, empty=state != "warm")
    environment = caches.environment(options.engine)
    environment |= WARM_UP_OFF[options.engine] if who in ("no-warm-up", "manifest") else {}
    environment |= {"KREGISTRY": "0"} if who == "engine" else {}
    environment |= dict(each.split("=", 1) for each in (*models.environment(options), *options.env))
    model = models.write(options, place)
    log = place / f"{time.strftime('%H%M%S')}-{who}-{state}.log"
    result: dict[str, Any] = {
        "engine": f"{options.engine} {servers.version(options.engine)}",
        "model": options.model,
        "layers": options.layers,
        "tp": options.tp,
        "arm": f"{who}:{state}",
        "env": options.env,
        "log": log.name,
        "kernels_before": len(caches.kernels()),
    }
    if who == "manifest":
        command = [sys.executable, "-m", "kregistry", "build", str(manifest(options)), "--engine", options.engine]
        code, variables = -1, {**os.environ, **caches.environment(options.engine)}
        with log.open("w") as output, suppress(subprocess.TimeoutExpired):
            done = subprocess.run(command, env=variables, stdout=output, stderr=output, timeout=options.limit)
            code = done.returncode
        if code:
            last_words = log.read_text(errors="replace").splitlines()[-30:]
            return {**result, "error": f"kregistry build has ended with code {code}", "last_words": last_words}
        log = log.with_suffix(".server.log")
        result["log"] = log.name
        result["kernels_before"] = len(caches.kernels())
    with servers.Server(options, model, environment, log) as server:
        try:
            if state == "killed":
                result |= servers.kill_a_rank(server, caches)
                return result
            result["ready_s"] = server.wait_until_ready()
            at_ready = caches.kernels()
            result["kernels_at_ready"] = len(at_ready)
            if result["ready_s"] is not None:
                print(f"{who}:{state} is ready after {result['ready_s']} s", flush=True)
                traffic.measure(options, server, caches, result)
                live = sorted(caches.kernels() - at_ready)
                result["compiled_live"] = len(live)
                result["compiled_live_names"] = live[:8]
        except Exception as error:
            result["error"] = f"{type(error).__name__}: {error}"
    result |= servers.read_log(log, server.began)
    result["start"] = caches.last_start(server.began)
    if "error" in result or result["ready_s"] is None:
        result["last_words"] = log.read_text(errors="replace").splitlines()[-30:]
    return result


def manifest(options: argparse.Namespace) -> Path:
    """The rehearsed manifest of a server."""
    path: Path = options.manifests.resolve() / f"{options.engine}-{options.model}-{options.layers}-layers.yaml"
    return path


def rehearse(options: argparse.Namespace) -> None:
    """Write the manifest of a server, from a rehearsal with its arguments."""
    model = models.write(options, options.work)
    words = servers.arguments(options, model)
    command = [sys.executable, "-m", "kregistry", "rehearse", options.engine, "--target", options.target, "--force"]
    command += ["--name", f"{options.model}-{options.layers}-layers", "-o", str(manifest(options)), "--", *words]
    environment = dict(each.split("=", 1) for each in (*models.environment(options), *options.env))
    manifest(options).parent.mkdir(exist_ok=True)
    subprocess.run(command, check=True, env={**os.environ, **environment})


def keep(options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Add a result to the file, and print a summary."""
    line = json.dumps(result)
    print(table.summary(result), flush=True)
    with (options.work / "results.jsonl").open("a") as file:
        file.write(line + "\n")
    if options.copy:
        options.copy.mkdir(parents=True, exist_ok=True)
        with (options.copy / "results.jsonl").open("a") as file:
            file.write(line + "\n")
        log = next(options.work.rglob(result["log"]), None)
        if log is not None:  # all logs in one file: few files come back from a machine that is borrowed
            with (options.copy / "logs.txt").open("a") as file:
                file.write(f"==== {result['arm']} {result['log']}\n{log.read_text(errors='replace')[-200_000:]}\n")


if __name__ == "__main__":
    os.chdir(Path(__file__).parent)  # nothing of the current directory is imported by the servers
    main()
