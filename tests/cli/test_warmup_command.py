"""kregistry warmup, up to the GPU: warm-up itself is tested in a process on the stub GPU, and on real ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result

from kregistry.compile import BuildReport
from kregistry.errors import WarmupError
from kregistry.store import Store
from kregistry.stub.environment import stub_environment
from kregistry.stub.library import compile_stub
from kregistry.target import get_target
from kregistry.toolchain import Toolchain
from kregistry.warm_up import WarmupReport

Run = Callable[..., Result]

ENTRY = "from kregistry.cli import main; main()"


@pytest.mark.stub
@pytest.mark.parametrize(
    ("options", "build"), [((), ""), (("-t", "detect"), ""), (("-t", "h100"), " --target h100")], ids=str
)
def test_without_a_gpu_the_error_says_so(tiny_file: Path, options: tuple[str, ...], build: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ENTRY, "warmup", str(tiny_file), *options],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == (
        "error: a warm-up loads kernels on a CUDA device, but torch finds none\n"
        f"hint: kregistry build {tiny_file}{build} makes the kernels ready on a machine without a GPU\n"
    )


@pytest.mark.stub
def test_without_a_gpu_nothing_is_planned_and_no_compiler_starts(
    tiny_file: Path, toolchain: Toolchain, tmp_path: Path
) -> None:
    """Every compiler leaves a mark; the stub GPU, whose plan would need one, is not there."""
    toolkit, places = tmp_path / "toolkit", {}
    (toolkit / "bin").mkdir(parents=True)
    (toolkit / "include").symlink_to(toolchain.cuda.include)
    mark = f'echo "$0 $*" >>{tmp_path}/MARK'
    script = f'#!/bin/sh\n{mark}\n[ "$*" = --version ] && exec {toolchain.cuda.nvcc} --version\nexit 1\n'
    for name in ("nvcc", "cc"):
        (toolkit / "bin" / name).write_text(script)
        (toolkit / "bin" / name).chmod(0o755)
    for name in ("TMPDIR", "XDG_CACHE_HOME", "KREGISTRY_STORE", "HOME"):
        places[name] = str(tmp_path / name)
        (tmp_path / name).mkdir()
    variables = {"CUDA_VISIBLE_DEVICES": "", "CUDA_HOME": str(toolkit), "CC": str(toolkit / "bin" / "cc")}
    for target in ((), ("-t", "h100")):
        result = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", ENTRY, "warmup", str(tiny_file), *target],
            env={**os.environ, **variables, **places},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 3 and "torch finds none" in result.stderr
    marks = (tmp_path / "MARK").read_text().splitlines() if (tmp_path / "MARK").exists() else []
    assert [each for each in marks if not each.endswith(" --version")] == []
    made = [path for place in places.values() for path in Path(place).rglob("*") if path.is_file()]
    assert made == []


def test_on_the_stub_gpu_every_kernel_is_loaded(
    tiny_file: Path,
    tiny_build: BuildReport,
    session_store: Store,
    stub_directory: Path,
    toolchain: Toolchain,
    tmp_path: Path,
) -> None:
    library = compile_stub(toolchain, stub_directory)
    environment = stub_environment(get_target("h100"), toolchain, library, tmp_path)
    command = ["warmup", "-q", str(tiny_file), "--store", str(session_store.directory)]
    command += ["--cache-dir", str(tmp_path / "jit")]
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ENTRY, *command], env=environment, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")
    words = result.stdout.split()
    assert " ".join(words[:8]) == "1 of 1 kernels loaded with 1 launches"
    assert result.stdout.endswith(" of device memory, 0 compiled\n")
    assert list((tmp_path / "jit").rglob("*.cubin"))


def test_after_a_lost_cuda_context_the_report_says_what_was_done(
    kregistry: Run, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warmup(*_: object, **__: object) -> WarmupReport:
        raise WarmupError("a launch ended the CUDA context", report=WarmupReport((), 3, 0, 0.0, ()))

    monkeypatch.setattr("kregistry.warm_up.warmup", warmup)
    monkeypatch.setattr("kregistry.warm_up.process.require_device", lambda build: None)
    result = kregistry("warmup", tiny_file, "--target", "h100", "--json")
    assert (result.code, json.loads(result.out)["kernels"]) == (1, 3)
    assert result.err == "error: a launch ended the CUDA context\n"
