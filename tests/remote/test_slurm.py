"""A real Slurm cluster builds a lock file: a node goes down, a task fails, and every kernel is compiled once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result

from kregistry.manifest.document import parse_document
from kregistry.manifest.reader import read_manifest
from kregistry.plan.lock import write_lock
from kregistry.plan.planner import make_plan
from kregistry.registry import Registry
from kregistry.toolchain import Toolchain

pytestmark = [pytest.mark.services, pytest.mark.stub, pytest.mark.nvcc]
MANIFEST = """
version: 1
target: h100
models:
  small:
    kernels:
      - {type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 256}, m: {stop: 4}}
      - {type: fp8_gemm_nt, shape: {n: 256, k: 512}, m: {stop: 16}}
"""


def test_an_array_job_builds_each_kernel_once(
    kregistry: Callable[..., Result], registry: Registry, toolchain: Toolchain, tmp_path: Path
) -> None:
    plan = make_plan(read_manifest(parse_document(MANIFEST, "k.yaml"), registry), registry, toolchain=toolchain)
    lock = tmp_path / "kernels.lock"
    write_lock(plan, lock, toolchain.cuda.compiler)
    script = Path(__file__).parents[1] / "support" / "slurm_build.sh"
    program = shutil.which("kregistry") or str(Path(sys.executable).with_name("kregistry"))
    isolated = ["unshare", "-n", "--pid", "--fork", "--kill-child", "--mount-proc"]
    place = tmp_path / "slurm"
    done = subprocess.run([*isolated, script, place, lock, program], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    texts = [path.read_text() for path in sorted((place / "log").glob("task-*.txt"))] + [done.stdout]
    compiled = sum(int(text.split("(")[1].split()[0]) for text in texts if "kernels ready in" in text)
    assert compiled == len(plan.kernels) == 3, texts
    result = kregistry("lookup", place / "remote", "--lock", lock)
    assert (result.code, result.out.startswith("3 of 3 kernels are in ")) == (0, True)
