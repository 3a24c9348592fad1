"""From a recorded run to one that compiles nothing: record, build, warm up, and the same script in mode ``error``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from compilers import copying_toolkit
from on_stub import PRELUDE, environment

from kregistry.toolchain import Toolchain

#: A program that knows nothing of kregistry but the monitor, which refuses every compile where MONITOR is set.
SCRIPT = (
    """
import os
if os.environ.get("MONITOR"):
    import kregistry
    from kregistry.jit_monitor import JitMonitor
    monitor = JitMonitor(kregistry.Registry(), "error").start()
"""
    + PRELUDE
    + """
for m in (1, 3, 9):
    args, kwargs = hc(m, 2)
    deep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)
    args, kwargs = fp8(m, n=128, k=512)
    deep_gemm.fp8_gemm_nt(*args, **kwargs)
deep_gemm.set_pdl(True)  # another way to launch, not another kernel
deep_gemm.tf32_hc_prenorm_gemm(*hc(2, 2)[0], num_splits=2)
deep_gemm.set_pdl(False)
try:
    deep_gemm.tf32_hc_prenorm_gemm(*hc(3, 3)[0], num_splits=3) if os.environ.get("MONITOR") else None
    refused = False
except RuntimeError:
    refused = True
if os.environ.get("MONITOR"):
    monitor.stop()
    answer(counts=dict(monitor.counts), refused=refused)
"""
)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """Runs a command on the stub GPU, with a JIT cache of that name."""

    def run(cache: str, *command: str | Path, **extra: str) -> str:
        variables = environment(tmp_path, DG_JIT_CACHE_DIR=str(tmp_path / cache), **extra)
        variables["XDG_CACHE_HOME"] = str(tmp_path / "xdg")
        python = [sys.executable, "-W", "ignore"]
        done = subprocess.run([*python, *map(str, command)], env=variables, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_a_recorded_script_runs_again_without_a_compile(
    run: Callable[..., str], tmp_path: Path, toolchain: Toolchain, cubin: bytes
) -> None:
    script, manifest = tmp_path / "script.py", tmp_path / "kernels.yaml"
    script.write_text(SCRIPT)
    kregistry = ("-m", "kregistry")
    places = ("--store", tmp_path / "store", "--cache-dir", tmp_path / "cache")
    cuda = str(copying_toolkit(tmp_path / "cuda", toolchain, cubin))
    run("first", *kregistry, "record", "-o", manifest, "--", sys.executable, "-W", "ignore", script)

    built = json.loads(run("cache", *kregistry, "build", manifest, *places, "--json", CUDA_HOME=cuda))
    assert built["ready"] == built["kernels"] == len(built["compiled"]) >= 3
    warmed = json.loads(run("cache", *kregistry, "warmup", manifest, *places, "--json"))
    assert warmed["compiled"] == [] and warmed["loaded"] == warmed["kernels"] == built["kernels"]

    said = run("cache", script, MONITOR="1")
    (line,) = (line for line in said.splitlines() if line.startswith("ANSWER "))
    # The one compile is of the call that was not recorded; a refusal of any other would have ended the script.
    assert json.loads(line.removeprefix("ANSWER ")) == {"counts": {"refused": 1}, "refused": True}
