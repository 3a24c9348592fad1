"""A fault at each step of kregistry's code inside SGLang: SGLang runs on, and a line of the log says what failed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from compilers import slow_toolkit
from engine_on_stub import need
from faults_in_sglang import FAULTS
from on_stub import environment

from kregistry.toolchain import Toolchain

pytestmark = pytest.mark.engines

#: Faults that are met before a model is served, whatever else happens, and what the log says then.
SAID = {
    "import of the hooks": "cannot register its hooks",
    "import of the switches": "cannot register its hooks",
    "import of the phases": "cannot register its hooks",
    "import of the launch": "cannot register its hooks",
    "kernel types": "cannot register its hooks",
    "hook registry": "cannot register its hooks",
    "watch": "cannot register its hooks",
    "names": "cannot register its hooks",
    "store": "builds nothing before the first call",
    "request": "builds nothing before the first call",
    "start folder": "builds nothing before the first call",
    "build process": "builds nothing before the first call",
    "reading the request": "builds nothing before the first call",
    "thread": "builds nothing before the first call",
    "wait": "what was built ahead cannot be read",
    "signature of a group": "cannot read what SGLang warms up: SGLang's own path runs",
    "signature of a call": "first calls are not watched any more",
    "coverage": "first calls are not watched any more",
    "device": "first calls are not watched any more",
}


def test_sglang_serves_with_any_fault(tmp_path: Path, toolchain: Toolchain, cubin: bytes) -> None:
    need("sglang")
    compiler = slow_toolkit(tmp_path / "cuda", toolchain, cubin, 0) / "bin" / "nvcc"
    (tmp_path / "models").mkdir()
    cache, script = str(tmp_path / "cache"), Path(__file__).parents[1] / "support" / "faults_in_sglang.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(tmp_path / "models")],
        env=environment(
            tmp_path,
            KREGISTRY_STORE=str(tmp_path / "store"),
            XDG_CACHE_HOME=str(tmp_path / "xdg"),
            SGLANG_DG_CACHE_DIR=cache,
            DG_JIT_CACHE_DIR=cache,
            KREGISTRY_NVCC=str(compiler),
        ),
        capture_output=True,
        text=True,
        timeout=880,
    )
    lines = [line.removeprefix("FAULT ") for line in done.stdout.splitlines() if line.startswith("FAULT ")]
    answers = {each["fault"]: each for each in map(json.loads, lines)}
    assert list(answers) == list(FAULTS), done.stdout[-3000:] + done.stderr[-3000:]
    assert {name: each["error"] for name, each in answers.items() if "error" in each} == {}
    for name, text in SAID.items():
        assert sum(text in line for line in answers[name]["log"]) == 1, (name, answers[name]["log"])
