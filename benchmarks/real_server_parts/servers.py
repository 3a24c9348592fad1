"""Starts a server and ends it, with caches of its own; reads its log."""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from attrs import frozen

from kregistry.integrations.phases import read_phases
from kregistry.watchdog import Watchdog
from real_server_parts import models

_PROGRAMS = {"sglang": ["-m", "sglang.launch_server"], "vllm": ["-m", "vllm.entrypoints.cli.main", "serve"]}
_SGLANG = shlex.split(
    "--load-format dummy --skip-tokenizer-init --sampling-backend pytorch "
    "--grammar-backend none --mem-fraction-static 0.8 --disable-radix-cache --trust-remote-code "
    "--max-total-tokens 120000 --max-running-requests 64 --chunked-prefill-size 4096"
)
#: Only NCCL: other ways to add over GPUs use NVLink multicast, which not every machine allows.
_SEVERAL_RANKS = ["--disable-custom-all-reduce", "--enforce-disable-flashinfer-allreduce-fusion"]
_VLLM = shlex.split(
    "--load-format dummy --skip-tokenizer-init --enforce-eager "
    "--max-model-len 8704 --max-num-batched-tokens 4096 --max-num-seqs 32 --gpu-memory-utilization 0.8"
)
_VLLM_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_USE_DEEP_GEMM": "1",
    "VLLM_MOE_USE_DEEP_GEMM": "1",
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "VLLM_HOST_IP": "127.0.0.1",
}
#: vLLM shows the lines of kregistry only if it is told to.
_VLLM_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "[%(asctime)s] %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stdout"}},
    "loggers": {name: {"handlers": ["out"], "level": "INFO", "propagate": False} for name in ("vllm", "kregistry")},
}
_OUR_FRAME = re.compile(r' +File ".*/kregistry/\w+')
#: Lines of a log that say how far a start is.
_MILESTONES = (
    "server_args=",
    "Init torch distributed begin",
    "Load weight begin",
    "Load weight end",
    "KV Cache is allocated",
    "Capture cuda graph begin",
    "Capture cuda graph end",
    "Uvicorn running",
    "fired up",
    "Model loading took",
    "DeepGEMM",
    "Application startup complete",
)


def arguments(options: argparse.Namespace, model: Path) -> list[str]:
    """The server's arguments, without its address."""
    own = [*models.arguments(options), *options.server]
    if options.engine == "vllm":
        return [str(model), *_VLLM, "--tensor-parallel-size", str(options.tp), *own]
    ranks = ["--tp-size", str(options.tp), *(_SEVERAL_RANKS if options.tp > 1 else [])]
    return [*_SGLANG, _largest_graph(version("sglang")), "64", "--model-path", str(model), *ranks, *own]


def _largest_graph(installed: str) -> str:
    """SGLang's argument for the largest batch of a captured decode step: the old name is ambiguous in 0.5.23."""
    numbers = [int(each) for each in re.findall(r"\d+", installed)[:3]]
    return "--cuda-graph-max-bs" if numbers and numbers < [0, 5, 15] else "--cuda-graph-max-bs-decode"


def version(engine: str) -> str:
    try:
        return metadata.version(engine)
    except metadata.PackageNotFoundError:
        return "?"


@frozen
class Caches:
    """DeepGEMM's JIT cache and kregistry's store of one arm."""

    directory: Path

    def environment(self, engine: str) -> dict[str, str]:
        cache = str(self.directory / "jit")
        common = {"DG_JIT_CACHE_DIR": cache, "SGLANG_DG_CACHE_DIR": cache, "KREGISTRY_STORE": str(self.store)}
        if engine == "sglang":
            return common
        logging = self.directory / "logging.json"
        logging.write_text(json.dumps(_VLLM_LOGGING))
        own = {"VLLM_LOGGING_CONFIG_PATH": str(logging), "VLLM_CACHE_ROOT": str(self.directory.parent / "vllm")}
        return {**common, **_VLLM_ENVIRONMENT, **own}

    @property
    def store(self) -> Path:
        return self.directory / "store"

    def kernels(self) -> set[str]:
        """Names of the kernels in the JIT cache: DeepGEMM 0.1 begins them with ``kernel.``, 0.2 does not."""
        place = self.directory / "jit" / "cache"
        return {path.name for path in place.iterdir() if path.is_dir()} if place.is_dir() else set()

    def last_start(self, began: float) -> dict[str, Any]:
        """What kregistry's build process said about a start, and the phases of all processes, from its beginning on."""
        found = sorted((self.store / "starts").glob("*/status.json"), key=lambda each: each.stat().st_mtime)
        if not found or found[-1].stat().st_mtime < began:
            return {}
        phases = [{**each, "at": round(each["at"] - began, 2)} for each in read_phases(found[-1].parent)]
        return {**json.loads(found[-1].read_text()), "phases": phases}


def caches(place: Path, who: str, *, empty: bool) -> Caches:
    """The caches of an arm. `no-warm-up` has none of its own: it uses the kernels of another arm."""
    name = who
    if who == "no-warm-up":
        name = next((each for each in ("kregistry", "engine") if (place / each).is_dir()), who)
    directory = place / name
    if empty and directory.is_dir():
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    return Caches(directory)


def free_port() -> int:
    """A port below 30,000: SGLang adds up to 20,000 for further ones, and refuses those above 65,535."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port between 20,000 and 30,000")


class Server:
    """A running server, as a context; it is ended with all its processes, also if this process is killed.

    A server that lives on would hold the memory of the GPU, and change what the next command measures.
    """

    def __init__(self, options: argparse.Namespace, model: Path, environment: dict[str, str], log: Path) -> None:
        self.engine = options.engine
        self.limit = options.limit
        self.log = log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        own = [*arguments(options, model), "--host", "127.0.0.1", "--port", str(self.port)]
        self._command = [sys.executable, "-W", "ignore", *_PROGRAMS[self.engine], *own]
        self._watchdog = Watchdog()
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment, **self._watchdog.environment}

    def __enter__(self) -> Server:
        self._output = self.log.open("w")
        self._watchdog.start()
        self.began = time.time()
        self.process = subprocess.Popen(
            self._command,
            env=self._environment,
            cwd=self.log.parent,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self

    def wait_until_ready(self) -> float | None:
        """Seconds until /health says yes; ``None`` if the server ended or took too long."""
        while time.time() - self.began < self.limit and self.process.poll() is None:
            with suppress(OSError):
                if urllib.request.urlopen(f"{self.url}/health", timeout=5).status == 200:
                    return round(time.time() - self.began, 2)
            time.sleep(0.1)
        return None

    def ranks(self) -> list[int]:
        """The processes that run a model, in the order of their ranks."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if "scheduler" in text and os.getpgid(int(path.parent.name)) == self.process.pid:
                    found.append((text, int(path.parent.name)))
        return [pid for _, pid in sorted(found)]

    def __exit__(self, *_: object) -> None:
        for number, seconds in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 20.0)):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
            if not _group_lives(self.process.pid):
                break
        self._watchdog.stop()
        self._output.close()


def _group_lives(group: int) -> bool:
    time.sleep(0.5)
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def kill_a_rank(server: Server, caches: Caches) -> dict[str, Any]:
    """Kill the last rank once kernels are being built; how long the server then takes to end."""
    while time.time() - server.began < server.limit and server.process.poll() is None:
        ranks = server.ranks()
        if ranks and len(caches.kernels()) >= 3:
            os.kill(ranks[-1], signal.SIGKILL)
            killed = time.time()
            with suppress(subprocess.TimeoutExpired):
                server.process.wait(server.limit)
            ended = round(time.time() - killed, 2) if server.process.poll() is not None else None
            return {
                "killed_after_s": round(killed - server.began, 2),
                "ended_after_s": ended,
                "kernels_then": len(caches.kernels()),
            }
        time.sleep(0.2)
    return {"error": "no rank was killed: nothing was built in time"}


def read_log(log: Path, began: float) -> dict[str, Any]:
    """When a start reached its milestones, in seconds, the lines of kregistry, and how many tracebacks lead through it.

    Lines name the directory of the benchmark as DIR: a result file holds no paths of the machine. Engines log
    tracebacks of their own, e.g. vLLM 0.33 without a tokenizer.
    """
    times: dict[str, float] = {}
    ours: list[str] = []
    tracebacks = 0
    within = counted = False
    for line in log.read_text(errors="replace").splitlines():
        stamp = re.search(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", line)
        if line.startswith("Traceback"):
            within, counted = True, False
        elif within and not counted and _OUR_FRAME.match(line):
            tracebacks, counted = tracebacks + 1, True
        within = within and (line.startswith(("Traceback", " ")) or not line)
        for milestone in _MILESTONES:
            if milestone in line and stamp:
                at = time.mktime(time.strptime(stamp.group(1), "%Y-%m-%d %H:%M:%S"))
                times.setdefault(milestone, round(at - began, 1))
        if "kregistry" in line.lower() and "hook" not in line and "plugin" not in line:
            ours.append(line.replace(str(log.parent.parent), "DIR")[:300])
    return {"milestones": times, "kregistry": ours[:40], "tracebacks": tracebacks}
