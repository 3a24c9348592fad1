"""Run a piece of Python on the stub GPU: real torch and DeepGEMM, no device, and a JIT cache of its own."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
import textwrap
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from forks import Forks

from kregistry.stub.environment import stub_environment
from kregistry.stub.library import compile_stub, default_stub_directory
from kregistry.target import get_target
from kregistry.toolchain import find_toolchain

_ROOT = Path(__file__).resolve().parents[2]

#: Tensors for two kernel types, as an engine would pass them.
PRELUDE = """
import json, os, sys
import torch, deep_gemm
import kregistry

def hc(m, num_splits=None, k=1024, n=24):
    a = torch.empty(m, k, dtype=torch.bfloat16, device="cuda")
    b = torch.empty(n, k, device="cuda")
    lead = () if num_splits is None else (num_splits,)
    d, s = torch.empty(*lead, m, n, device="cuda"), torch.empty(*lead, m, device="cuda")
    return (a, b, d, s), {"num_splits": num_splits}

def fp8(m, n=512, k=1024):
    e4m3 = torch.float8_e4m3fn
    a = torch.empty(m, k, dtype=e4m3, device="cuda"), torch.empty(m, k // 128, device="cuda")
    b = torch.empty(n, k, dtype=e4m3, device="cuda"), torch.empty(n // 128, k // 128, device="cuda")
    return (a, b, torch.empty(m, n, dtype=torch.bfloat16, device="cuda")), {}

def answer(**values):
    print("ANSWER " + json.dumps(values))
"""


@cache
def _stub() -> Path:
    return compile_stub(find_toolchain(), default_stub_directory())


def environment(home: Path, target: str = "h100", **extra: str) -> dict[str, str]:
    """The environment of a process on the stub; its "compiler" writes a dummy cubin at once."""
    base = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
    return {**stub_environment(get_target(target), find_toolchain(), _stub(), home, base), **extra}


@cache
def _forks() -> Forks:
    """Started with the first script, and ended with this process."""
    home = Path(tempfile.mkdtemp(prefix="forks-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    forks = Forks(environment(home))
    atexit.register(forks.__exit__)
    return forks.__enter__()


def run(
    script: str, home: Path, *, prelude: str = PRELUDE, check: bool = True, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run ``script`` on the stub as an H100, in a fork of a process with torch; ``extra`` are environment variables."""
    file = home / "script.py"
    file.write_text(prelude + textwrap.dedent(script))
    done = run_file(file, environment(home, **extra))
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def run_file(file: Path, variables: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script with these environment variables, in a fork of a process with torch on the stub."""
    with tempfile.TemporaryDirectory() as place:
        out, err = Path(place, "out"), Path(place, "err")
        code = _forks().run(file, arguments, variables, out, err)
        return subprocess.CompletedProcess([str(file), *arguments], code, out.read_text(), err.read_text())


def answer(script: str, home: Path, *, prelude: str = PRELUDE, **extra: str) -> Mapping[str, object]:
    """What the script gave to ``answer(...)``."""
    import json

    done = run(script, home, prelude=prelude, **extra)
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    assert len(lines) == 1, done.stdout + done.stderr
    values: Mapping[str, object] = json.loads(lines[0].removeprefix("ANSWER "))
    return values
