"""Nothing that we read runs code: files and names are planted in every place from which a command reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from readers import CONFIG, EVENT, MANIFEST, PLAN

MODULES = ("json", "sitecustomize", "usercustomize", "torch", "deep_gemm", "yaml", "click", "attrs", "kregistry")
SCRIPT = str(Path(sys.executable).with_name("kregistry"))


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Path]:
    """A directory whose every file leaves a mark if it runs, and whose own name is a command for shells."""
    mark = tmp_path / "MARK"
    directory = tmp_path / 'x "$(touch MARK)" `touch MARK`; touch MARK'
    for place in (directory, directory / "store", directory / "tmp", directory / "home", directory / "xdg"):
        place.mkdir()
        for name in MODULES:
            (place / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})\n")
    yield directory
    marks = [*tmp_path.rglob("MARK"), *Path.cwd().glob("MARK")]
    assert not marks, [path.read_text() for path in marks]


def run(directory: Path, *arguments: str | Path, code: int = 0) -> str:
    """A command in that directory, with its home, TMPDIR, caches and store below it."""
    environment = {
        **os.environ,
        "HOME": str(directory / "home"),
        "XDG_CACHE_HOME": str(directory / "xdg"),
        "TMPDIR": str(directory / "tmp"),
        "KREGISTRY_STORE": str(directory / "store"),
    }
    environment.pop("PYTHONPATH", None)  # with "." in it, Python itself runs sitecustomize.py before it starts a script
    done = subprocess.run(
        [SCRIPT, *map(str, arguments)], cwd=directory, env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == code and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done.stdout


def test_files_that_are_only_read(planted: Path) -> None:
    (planted / "kernels.yaml").write_text(MANIFEST.replace("label: q_b", 'label: "$(touch MARK)"'))
    (planted / "config.json").write_text(json.dumps({**CONFIG, "model_type": "$(touch MARK)"}))
    (planted / "jit.jsonl").write_text(json.dumps({**EVENT, "process": "`touch MARK`"}) + "\n")
    (planted / "kernels.lock").write_text(json.dumps(PLAN))
    run(planted, "check")
    run(planted, "check", planted / "kernels.yaml")
    run(planted, "init", "--config", planted / "config.json", "--engine", "sglang", "--tp", "8", "-o", "made.yaml")
    run(planted, "monitor", "jit.jsonl")
    run(planted, "list")


@pytest.mark.stub
def test_a_plan(planted: Path) -> None:
    (planted / "kernels.yaml").write_text(
        "version: 1\ntarget: h100\nmodels:\n  tiny:\n    kernels:\n"
        "      - {type: tf32_hc_prenorm_gemm, label: '$(touch MARK)', shape: {n: 24, k: 256}, m: {stop: 4}}\n"
    )
    assert "1 kernel for h100" in run(planted, "plan", "-o", "kernels.lock").replace("kernels for", "kernel for")
    run(planted, "plan", "--check", "kernels.lock")
