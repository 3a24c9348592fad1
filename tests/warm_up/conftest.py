"""A warm-up in a process that takes the stub for its GPU: everything but the device itself is real."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import on_stub
import pytest

from kregistry.stub.environment import stub_environment
from kregistry.stub.library import compile_stub
from kregistry.target import get_target
from kregistry.toolchain import Toolchain

SCRIPT = Path(__file__).parents[1] / "support" / "warm_up_again.py"


@pytest.fixture
def warm_up(tmp_path: Path, tiny_file: Path, toolchain: Toolchain, stub_directory: Path) -> Any:
    """Runs the script, each time in a process of its own, on the same store and cache."""
    forbidden = tmp_path / "nvcc_monitor.sh"  # so named, kregistry itself takes the one behind it
    forbidden.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec "{toolchain.cuda.nvcc}" --version\nexit 1\n')
    forbidden.chmod(0o755)
    library = compile_stub(toolchain, stub_directory)
    environment = stub_environment(get_target("h100"), toolchain, library, Path(os.environ["HOME"]))
    environment["DG_JIT_NVCC_COMPILER"] = str(forbidden)
    environment["KREGISTRY_MONITORED_NVCC"] = str(toolchain.cuda.nvcc)

    def run(*flags: str) -> dict[str, Any]:
        arguments = [str(tiny_file), str(tmp_path / "store"), str(tmp_path / "cache"), *flags]
        done = on_stub.run_file(SCRIPT, environment, *arguments)
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return report

    return run


@pytest.fixture(scope="session")
def _first_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("first-start")


@pytest.fixture
def started(warm_up: Any, tmp_path: Path, _first_start: Path) -> None:
    """A first start has filled the store and the cache: that of the first test, copied for the others."""
    made = (_first_start / "store").exists()
    if not made:
        warm_up()
    for name in ("store", "cache"):
        one, other = tmp_path / name, _first_start / name
        shutil.copytree(other if made else one, one if made else other, symlinks=True)
