"""The JIT monitor: unseen shapes in each mode, false alarms, overhead."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from serving_parts.common import COMMAND, host_seconds


def hc_call(splits: int, n: int = 24, m: int = 4, k: int = 1024) -> tuple[tuple[Any, ...], dict[str, Any]]:
    import torch

    a = torch.randn(m, k, dtype=torch.bfloat16, device="cuda")
    b = torch.randn(n, k, device="cuda")
    out = torch.empty(splits, m, n, device="cuda"), torch.empty(splits, m, device="cuda")
    return (a, b, *out), {"num_splits": splits}


def monitor(options: argparse.Namespace) -> dict[str, Any]:
    import shutil

    import kregistry
    from kregistry.jit_monitor import JitMonitor

    cache = options.work / "monitor-cache"
    shutil.rmtree(cache, ignore_errors=True)
    os.environ["DG_JIT_CACHE_DIR"] = str(cache)
    events: list[Any] = []

    class Listener:
        @kregistry.hookimpl
        def kregistry_jit_compiled(self, event: Any) -> None:
            events.append(event)

    registry = kregistry.Registry()
    registry.listen(Listener())
    watch = JitMonitor(registry, "warn", log=options.work / "jit.jsonl").start()
    import deep_gemm

    found: dict[str, Any] = {}
    plan = {"warn": (24, options.shapes), "error": (16, options.shapes), "count": (8, options.count_shapes)}
    for mode, (n, shapes) in plan.items():
        watch.mode = mode
        events.clear()
        seconds, refused, line = [], 0, 0
        for splits in range(1, shapes + 1):
            args, kwargs = hc_call(splits, n)
            started = time.perf_counter()
            try:
                line = sys._getframe().f_lineno + 1
                deep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)
            except Exception:
                refused += 1
            seconds.append(time.perf_counter() - started)
        settle(events, shapes)
        site = f"{__file__}:{line} in monitor"
        found[mode] = {
            "shapes": shapes,
            "seen": len(events),
            "site_right": sum(event.site == site for event in events),
            "call_right": sum(
                dict(event.shape) == {"n": n, "k": 1024, "num_splits": splits} and event.m == 4
                for splits, event in enumerate(sorted(events, key=lambda event: event.time), start=1)
            ),
            "refused": refused,
            "longest_ms": round(max(seconds) * 1e3, 1),
            "median_ms": round(statistics.median(seconds) * 1e3, 1),
        }
    watch.mode = "warn"
    events.clear()
    args, kwargs = hc_call(1)
    for _ in range(options.warmed_calls):
        deep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)
    watch.stop()
    found["false alarms"] = {"warmed_calls": options.warmed_calls, "alarms": len(events)}
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(10):
        monitored = number % 2 == 0
        command = [sys.executable, "-W", "ignore", str(COMMAND), "overhead", "--work", str(options.work)]
        run = subprocess.run([*command, *(["--monitored"] * monitored)], capture_output=True, text=True, check=True)
        times[monitored].append(json.loads(run.stdout.splitlines()[-1]))
    medians = {key: statistics.median(each) * 1e6 for key, each in times.items()}
    found["overhead"] = {
        "with_us": round(medians[True], 3),
        "without_us": round(medians[False], 3),
        "spread_without_us": round((max(times[False]) - min(times[False])) * 1e6, 3),
    }
    return found


def settle(events: list[Any], count: int) -> None:
    """Wait for the monitor's thread, which handles reports with a delay."""
    deadline = time.monotonic() + 2
    while len(events) < count and time.monotonic() < deadline:
        time.sleep(0.01)


def overhead(options: argparse.Namespace) -> float:
    """Seconds of a warm call in a new process, with or without a monitor."""
    from kregistry import Registry
    from kregistry.jit_monitor import JitMonitor
    from kregistry.toolchain import find_cuda_toolkit

    os.environ.setdefault("CUDA_HOME", str(find_cuda_toolkit().home))
    if options.monitored:
        JitMonitor(Registry(), "warn").start()
    import deep_gemm

    args, kwargs = hc_call(1)
    function = deep_gemm.tf32_hc_prenorm_gemm
    function(*args, **kwargs)
    return statistics.median(host_seconds(lambda: function(*args, **kwargs)) for _ in range(100))
