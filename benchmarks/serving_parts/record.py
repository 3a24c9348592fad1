"""Record a script, build and warm up its kernels, and run it again in mode ``error``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from typing import Any

SCRIPT = """
import os, sys
if os.environ.get("MONITOR"):
    from kregistry import Registry
    from kregistry.jit_monitor import JitMonitor
    monitor = JitMonitor(Registry(), "error").start()
import deep_gemm, torch

def hc(m):
    splits = max(1, min(torch.cuda.get_device_properties(0).multi_processor_count // max(-(-m // 64), 1), 4))
    a, b = torch.randn(m, 1024, dtype=torch.bfloat16, device="cuda"), torch.randn(24, 1024, device="cuda")
    out = torch.empty(splits, m, 24, device="cuda"), torch.empty(splits, m, device="cuda")
    deep_gemm.tf32_hc_prenorm_gemm(a, b, *out, num_splits=splits)

def fp8(m, n=512, k=1024):
    a = torch.randn(m, k, device="cuda").to(torch.float8_e4m3fn), torch.ones(m, k // 128, device="cuda")
    b = torch.randn(n, k, device="cuda").to(torch.float8_e4m3fn), torch.ones(n // 128, k // 128, device="cuda")
    deep_gemm.fp8_gemm_nt(a, b, torch.empty(m, n, dtype=torch.bfloat16, device="cuda"))

for m in (1, 2, 7, 33, 64, 100):
    hc(m)
    fp8(m)
torch.cuda.synchronize()
if os.environ.get("MONITOR"):
    monitor.stop()
    print("COUNTS", dict(monitor.counts))
"""


def record(options: argparse.Namespace) -> dict[str, Any]:
    work = options.work / "record"
    work.mkdir(exist_ok=True)
    script, manifest, cache = work / "script.py", work / "recorded.yaml", work / "cache"
    script.write_text(SCRIPT)
    python = [sys.executable, "-W", "ignore"]
    kregistry = [*python, "-m", "kregistry"]
    places = ["--store", str(work / "store"), "--cache-dir", str(cache)]
    steps: dict[str, tuple[list[str], dict[str, str]]] = {
        "record": (
            [*kregistry, "record", "-o", str(manifest), "--", *python, str(script)],
            {"DG_JIT_CACHE_DIR": str(work / "first-cache")},
        ),
        "build": ([*kregistry, "build", str(manifest), "--target", "detect", *places], {}),
        "warmup": ([*kregistry, "warmup", str(manifest), *places], {"DG_JIT_CACHE_DIR": str(cache)}),
        "again in mode error": ([*python, str(script)], {"DG_JIT_CACHE_DIR": str(cache), "MONITOR": "1"}),
    }
    found: dict[str, Any] = {}
    for name, (command, extra) in steps.items():
        environment = {**os.environ, **extra}
        started = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        found[name] = {"exit": done.returncode, "seconds": round(time.perf_counter() - started, 1)}
        last = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-1:]
        found[name]["said"] = " ".join(last).replace(str(options.work), "DIR")[:200]
    found["manifest"] = manifest.read_text().splitlines() if manifest.exists() else []
    return found
