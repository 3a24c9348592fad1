"""kregistry doctor: what is there, what is missing, and how to fix it."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from command_line import Result
from distributions import OFFERS, Install

from kregistry.deep_gemm.engine_cache import installed_engines

Run = Callable[..., Result]


@pytest.mark.stub
def test_a_machine_that_has_everything(kregistry: Run) -> None:
    result = kregistry("doctor", "--json")
    assert (result.code, result.err) == (0, "")
    subjects = [each["subject"] for each in result.json]
    assert subjects == [
        "kregistry",
        "plugins",
        "torch",
        "DeepGEMM",
        "environment",
        "CUDA toolkit",
        "C compiler",
        "store",
        "stub GPU",
        "compiler",
        "CUDA headers",
        *(name for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ),
        "XDG_CACHE_HOME",
        "JIT cache of DeepGEMM",
        *(f"JIT cache of {name} {metadata.version(name)}" for name in installed_engines()),
        "a server without kregistry's plugin",
    ]
    assert all(each["ok"] and each["found"] and not each["hint"] for each in result.json)
    found = {each["subject"]: each["found"] for each in result.json}
    assert "fp8_gemm (kregistry " in found["plugins"]
    assert found["stub GPU"] == "torch and DeepGEMM load on the stub h100"


@pytest.mark.stub
def test_what_is_missing_is_named_with_how_to_fix_it(
    kregistry: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    result = kregistry("doctor")
    assert result.code == 3
    lines = result.out.splitlines()
    where = next(number for number, line in enumerate(lines) if line.startswith("FAIL"))
    assert lines[where : where + 2] == [
        f"FAIL CUDA toolkit: no CUDA compiler (bin/nvcc and include/cuda.h) in {tmp_path} (CUDA_HOME)",
        "     hint: set CUDA_HOME to a CUDA toolkit, or unset it and run pip install 'cuda-toolkit[nvcc,cccl,crt,nvvm]'"
        "; torch and DeepGEMM stay as they are",
    ]
    assert sum(line.startswith("FAIL") for line in lines) == 1
    assert not any("stub GPU" in line for line in lines)
    assert result.err == "error: failed checks: CUDA toolkit\n"


def test_a_broken_plugin_is_named(kregistry: Run, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("bad-dist", "0.3", "raise RuntimeError('odd')", plugin="bad")
    monkeypatch.setattr("kregistry.cli.doctor_command._try_stub", lambda: "not tried")
    result = kregistry("doctor", "--json")
    (broken,) = [each for each in result.json if each["subject"] == "broken plugin"]
    assert broken["found"].startswith("plugin bad (bad-dist 0.3): cannot be imported: RuntimeError: odd")
    assert not broken["ok"]
    assert result.code == 3


def test_two_plugins_of_one_name_and_a_slow_import_are_named(
    kregistry: Run, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kregistry.cli.doctor_command._try_stub", lambda: "not tried")
    monkeypatch.setattr("kregistry.cli.doctor_command._SLOW_IMPORT", 0.15)
    busy = "import time\nstart = time.process_time()\nwhile time.process_time() - start < 0.2: pass\n"
    for name in ("one", "two"):
        install(f"dist-{name}", "1.0", busy * (name == "one") + OFFERS.format("Sample"), plugin=name)
    result = kregistry("doctor", "--json")
    found = {each["subject"]: each for each in result.json}
    assert result.code == 3
    clash = found["two plugins"]["found"]
    assert "'sample' is provided by" in clash and "one (dist-one 1.0)" in clash and "two (dist-two 1.0)" in clash
    assert "s of CPU time to import" in found["slow plugin"]["found"]


def test_a_distribution_whose_metadata_names_no_plugin_is_named(
    kregistry: Run, install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-kernels", "1.2", "", plugin="acme", group="another.group")
    metadata = next(tmp_path.rglob("acme_kernels-1.2.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text() + "Requires-Dist: kregistry>=0.1\n")
    monkeypatch.setattr("kregistry.cli.doctor_command._try_stub", lambda: "not tried")
    found = kregistry("doctor").out
    assert "no plugin: acme-kernels 1.2 needs kregistry, and its metadata names no plugin" in found
