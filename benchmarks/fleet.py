"""One store for a fleet: how long an empty machine takes until it has the kernels of a model, and a build on a cluster.

    python benchmarks/fleet.py ready --lock kernels.lock --store STORE --work DIR [--source]
    python benchmarks/fleet.py cluster --lock kernels.lock --work DIR

`ready` times `kregistry pull` as a whole command, with the start of Python, into an empty store: from an S3-like server
on the loopback interface, a directory, a bundle, the layer of an image and a wheel. `--source` also builds from source.
`cluster` builds the lock file on a Dask cluster of two worker processes into the same kind of S3 server, kills one of
them in the middle and starts it again. Both print JSON and need the extra `test-services`. All listens on 127.0.0.1; in
front of a command, `unshare -n bash -c 'ip link set lo up; ...'` gives it a network of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from kregistry.machine import available_cores

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from s3_server import CREDENTIALS, Server

BIN = Path(sys.executable).parent


#: CPU seconds of each command that was run, the last one last.
CPU: list[float] = []


def kregistry(*arguments: object, **variables: str) -> tuple[float, str]:
    """Run a command; its seconds and what it printed."""
    command = [str(BIN / "kregistry"), *map(str, arguments)]
    # As after an installation: Python keeps bytecode, which the first run has written.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(command, env={**environment, **variables}, capture_output=True, text=True)
    seconds, after = time.perf_counter() - started, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    CPU.append(used)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return seconds, done.stdout + done.stderr


def timed(runs: int, store: Path, one: Callable[[], float]) -> dict[str, Any]:
    """Runs into an empty store each."""
    seconds, cpu = [], []
    for _ in range(runs):
        shutil.rmtree(store, ignore_errors=True)
        seconds.append(one())
        cpu.append(CPU[-1])
    summary = {"median": statistics.median(seconds), "best": min(seconds), "median_cpu": statistics.median(cpu)}
    return {**{name: round(each, 3) for name, each in summary.items()}, "runs": runs}


def ready(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds until every kernel of the lock file is in an empty store, verified, by where it comes from."""
    work, lock, full = arguments.work, arguments.lock, ("--lock", arguments.lock, "--store", arguments.store)
    work.mkdir(parents=True, exist_ok=True)
    kernels = len(json.loads(lock.read_text())["kernels"])
    store, bundle, image = work / "store", work / "kernels.tar.gz", work / "image"
    target = ("--lock", lock, "--store", store)
    server = Server()
    s3 = server.bucket("team")
    variables = {**CREDENTIALS, "AWS_ENDPOINT_URL": server.url}
    pushed, _ = kregistry("push", s3, *full, **variables)
    kregistry("push", f"{work / 'directory'}?unsigned", *full)
    kregistry("bundle", *full, "--tar", bundle)
    wheel = work / "kernels-1.0-py3-none-any.whl"
    kregistry("bundle", *full, "--wheel", wheel)
    shutil.rmtree(image, ignore_errors=True)
    kregistry("bundle", *full, "--oci", image)

    def from_image() -> float:
        started = time.perf_counter()
        shutil.rmtree(work / "layer", ignore_errors=True)
        layer = max((image / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
        with tarfile.open(layer) as tar:
            tar.extractall(work / "layer", filter="data")
        unpacked = time.perf_counter() - started
        return unpacked + kregistry("pull", f"{work / 'layer' / 'kregistry'}?unsigned", *target)[0]

    def from_wheel() -> float:
        site = work / "site"
        shutil.rmtree(site, ignore_errors=True)
        started = time.perf_counter()
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        unpacked = time.perf_counter() - started
        return unpacked + kregistry("pull", "wheel:", *target, PYTHONPATH=str(site))[0]

    ways: dict[str, Callable[[], float]] = {
        "S3 on loopback": lambda: kregistry("pull", s3, *target, **variables)[0],
        "directory": lambda: kregistry("pull", f"{work / 'directory'}?unsigned", *target)[0],
        "bundle": lambda: kregistry("pull", f"{bundle}?unsigned", *target)[0],
        "image layer, unpacked first": from_image,
        "wheel, unpacked first": from_wheel,
    }
    found = {name: timed(arguments.runs, store, one) for name, one in ways.items()}
    start = [kregistry("--version")[0] for _ in range(arguments.runs)]
    if arguments.source:
        found["source"] = timed(1, store, lambda: kregistry("build", *target)[0])
    server.stop()
    cubins = sum(path.stat().st_size for path in store.glob("kernels/*/*/kernel.cubin"))
    layer = max(path.stat().st_size for path in (image / "blobs" / "sha256").iterdir())
    return {
        "kernels": kernels,
        "seconds": found,
        "seconds of kregistry --version": round(statistics.median(start), 3),
        "seconds of push to S3": round(pushed, 3),
        "bytes": {
            "cubins": cubins,
            "objects": sum(path.stat().st_size for path in (work / "directory").rglob("*") if path.is_file()),
            "bundle": bundle.stat().st_size,
            "image layer": layer,
            "wheel": wheel.stat().st_size,
        },
    }


def cluster(arguments: argparse.Namespace) -> dict[str, Any]:
    """A build by two worker processes of Dask, one of which is killed after some kernels and started again."""
    work = arguments.work
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    server = Server()
    s3 = server.bucket("team")
    variables = {**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": server.url}
    address = "127.0.0.1:8786"
    local = ["--host", "127.0.0.1"]
    dask, log = str(BIN / "dask"), (work / "log").open("w")
    scheduler = [dask, "scheduler", *local, "--port", "8786", "--dashboard-address", "127.0.0.1:0"]
    processes = [subprocess.Popen(scheduler, stdout=log, stderr=log)]

    def worker(number: int) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "KREGISTRY_STORE": str(work / f"worker-{number}")}
        command = [dask, "worker", f"tcp://{address}", *local, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        command += ["--local-directory", str(work / f"dask-{number}")]
        started = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        processes.append(started)
        return started

    workers = [worker(1), worker(2)]
    command = [str(BIN / "kregistry"), "build", "--lock", str(arguments.lock), "--on", f"dask://{address}"]
    command += ["--store", str(work / "store"), "--remote", s3, "--json"]
    started = time.perf_counter()
    with (work / "report.json").open("w") as report:
        build = subprocess.Popen(command, env=variables, stdout=report, stderr=log)
    made: set[str] = set()
    while build.poll() is None and len(made) < arguments.kill_after:
        made = {path.parent.name for path in (work / "worker-1").glob("kernels/*/*/kernel.cubin")}
        time.sleep(0.2)
    killed_at = time.perf_counter() - started
    back = {path.parent.name for path in (work / "store").glob("kernels/*/*/kernel.cubin")}
    workers[0].kill()
    workers[0].wait()
    worker(1)
    code = build.wait()
    seconds = time.perf_counter() - started
    environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": server.url}
    _, looked = kregistry("lookup", s3, "--lock", arguments.lock, **environment)
    _, pulled = kregistry("pull", s3, "--lock", arguments.lock, "--store", work / "machine-b", **environment)
    for process in processes:
        process.kill()
        process.wait()
    server.stop()
    content = json.loads((work / "report.json").read_text())
    one, two = (
        {path.parent.name for path in (work / f"worker-{number}").glob("kernels/*/*/kernel.cubin")} for number in (1, 2)
    )
    return {
        "exit_code": code,
        "seconds": round(seconds, 1),
        "kernels": content["kernels"],
        "compiled": len(content["compiled"]),
        "compiler_seconds": round(sum(each["seconds"] for each in content["compiled"]), 1),
        "cluster": content["cluster"],
        "remote": content["remote"],
        "killed": {"after_seconds": round(killed_at, 1), "kernels_in_its_store": len(made), "published": len(back)},
        "kernels_in_the_stores_of_the_workers": {"first": len(one), "second": len(two), "both": len(one & two)},
        "lookup": looked.splitlines()[0],
        "pull on machine B": pulled.splitlines()[0].partition(" are in ")[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    for name, function in (("ready", ready), ("cluster", cluster)):
        part = parts.add_parser(name)
        part.set_defaults(function=function)
        part.add_argument("--lock", type=Path, required=True, help="a lock file with sources")
        part.add_argument("--work", type=Path, required=True, help="a directory for everything")
        part.add_argument("--store", type=Path, help="ready: a store that holds the kernels")
        part.add_argument("--runs", type=int, default=5)
        part.add_argument("--source", action="store_true", help="ready: also build from source")
        part.add_argument("--kill-after", type=int, default=5, help="cluster: kill a worker after as many kernels")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    result = arguments.function(arguments)
    machine = {"cores": available_cores(), "python": sys.version.split()[0], "date": date.today().isoformat()}
    machine["load_before_and_after"] = [round(load, 1), round(os.getloadavg()[0], 1)]
    print(json.dumps({"machine": machine, **result}, indent=1))


if __name__ == "__main__":
    main()
