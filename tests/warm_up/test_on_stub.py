"""The whole warm-up in a process that takes the stub for its GPU: everything but the device itself is real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kregistry.plan.stub import compile_stub, stub_environment
from kregistry.target import get_target
from kregistry.toolchain import Toolchain

SCRIPT = Path(__file__).with_name("warm_up_on_stub.py")


@pytest.fixture
def warm_up(tmp_path: Path, tiny_file: Path, toolchain: Toolchain, stub_directory: Path) -> Any:
    """Runs the script, each time in a new process, on the same store and cache."""
    forbidden = tmp_path / "forbidden_nvcc"
    forbidden.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec "{toolchain.cuda.nvcc}" --version\nexit 1\n')
    forbidden.chmod(0o755)
    library = compile_stub(toolchain, stub_directory)
    environment = stub_environment(get_target("h100"), toolchain, library, Path(os.environ["HOME"]))
    environment["DG_JIT_NVCC_COMPILER"] = str(forbidden)

    def run() -> dict[str, Any]:
        command = [sys.executable, "-W", "ignore", str(SCRIPT), str(tiny_file)]
        done = subprocess.run(
            [*command, str(tmp_path / "store"), str(tmp_path / "cache")],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return report

    return run


def test_second_start_neither_plans_nor_builds(warm_up: Any, tmp_path: Path) -> None:
    first = warm_up()
    assert first["built"]
    assert first["loaded"] == first["kernels"] == 1
    assert first["compiled"] == []
    second = warm_up()
    assert not second["built"]
    assert second["loaded"] == 1
    assert second["compiled"] == []


def test_a_start_that_misses_a_kernel_builds_again(warm_up: Any, tmp_path: Path) -> None:
    warm_up()
    (cubin,) = (tmp_path / "store").glob("kernels/*/*/kernel.cubin")
    cubin.write_bytes(cubin.read_bytes()[:100])
    report = warm_up()
    assert report["built"]
    assert len(report["build"]["compiled"]) == 1
    assert report["loaded"] == 1


def test_a_changed_range_is_another_plan(warm_up: Any, tiny_file: Path) -> None:
    warm_up()
    tiny_file.write_text(tiny_file.read_text().replace("stop: 4", "stop: 5"))
    assert warm_up()["built"]
