"""Run a script with a real engine on the stub GPU: own store, own JIT cache, and the real nvcc for what is built."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from on_stub import environment, run_file

#: The versions that the integrations are tested with. .ci/engines installs the last ones, and runs all tests with them;
#: .ci/engine-versions installs the others, and runs the warm-up with them.
VERSIONS = {"sglang": ("0.5.11", "0.5.16", "0.5.23"), "vllm": ("0.20.0", "0.26.0", "0.33.0")}


def need(engine: str) -> None:
    """Skip, with the reason, where the engine is not installed."""
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed: .ci/engines runs this with {engine} {VERSIONS[engine][-1]}")
    found = metadata.version(engine)
    assert found in VERSIONS[engine], f"tested with {engine} {', '.join(VERSIONS[engine])}, found {found}"


def run(script: str, home: Path, **extra: str) -> Mapping[str, Any]:
    """What the script gave to ``answer(...)``, and everything it said as ``text``."""
    file, variables = _prepared(script, home, extra)
    command = [sys.executable, "-W", "ignore", str(file)]
    return _answer(subprocess.run(command, env=variables, capture_output=True, text=True, timeout=500))


def run_forked(script: str, home: Path, **extra: str) -> Mapping[str, Any]:
    """The same in a fork of a process with torch: for scripts without an engine."""
    return _answer(run_file(*_prepared(script, home, extra)))


def _prepared(script: str, home: Path, extra: Mapping[str, str]) -> tuple[Path, dict[str, str]]:
    file = home / "script.py"
    file.write_text(HEAD + script)
    variables = {
        "KREGISTRY_STORE": str(home / "store"),
        "XDG_CACHE_HOME": str(home / "xdg"),
        "SGLANG_DG_CACHE_DIR": str(home / "cache"),
        "DG_JIT_CACHE_DIR": str(home / "cache"),
        "VLLM_NO_USAGE_STATS": "1",
        **extra,
    }
    return file, environment(home, **variables)


def _answer(done: subprocess.CompletedProcess[str]) -> Mapping[str, Any]:
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    assert done.returncode == 0 and len(lines) == 1, done.stdout[-6000:] + done.stderr[-6000:]
    return {**json.loads(lines[0].removeprefix("ANSWER ")), "text": done.stdout + done.stderr}


HEAD = """
import json, logging, os, sys
logging.basicConfig(level=logging.INFO)

def answer(**values):
    print("ANSWER " + json.dumps(values))

def kernels():
    root = os.environ["DG_JIT_CACHE_DIR"] + "/cache"
    return sorted(os.listdir(root)) if os.path.isdir(root) else []

def real_cubins():
    root = os.environ["DG_JIT_CACHE_DIR"] + "/cache"
    return sum(open(f"{root}/{name}/kernel.cubin", "rb").read(4) == b"\\x7fELF" for name in kernels())
"""
