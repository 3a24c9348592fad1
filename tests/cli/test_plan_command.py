"""kregistry plan: the table, the JSON, the lock file, and entries that cannot be planned."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result

from kregistry.compile import BuildReport
from kregistry.store import Store
from manifests import with_kernels

Run = Callable[..., Result]


def test_a_plan_as_table_and_lock_file(
    kregistry: Run, tiny_file: Path, tiny_build: BuildReport, tmp_path: Path
) -> None:
    lock = tmp_path / "kernels.lock"
    result = kregistry("plan", tiny_file, "-o", lock)
    assert (result.code, result.err) == (0, "")
    title, header, row = result.out.splitlines()[:3]
    assert title == "model tiny"
    assert header.split() == ["entry", "kernel", "type", "shape", "range", "launches", "kernels", "memory"]
    assert " ".join(row.split()) == "hc tf32_hc_prenorm_gemm n=24 k=256 num_splits=none m 1..4 1 1 24.6 KiB"
    versions = tiny_build.plan.versions
    assert result.out.splitlines()[-1] == (
        f"1 kernel for h100 with DeepGEMM {versions.deep_gemm}, torch {versions.torch}, nvcc {versions.nvcc}"
    )
    assert json.loads(lock.read_text()) == tiny_build.plan.to_json()


def test_json_and_drift(kregistry: Run, tiny_file: Path, tiny_build: BuildReport, tmp_path: Path) -> None:
    lock = tmp_path / "kernels.lock"
    content = tiny_build.plan.to_json()
    content["target"]["num_sms"] = 131
    lock.write_text(json.dumps(content))
    result = kregistry("plan", tiny_file, "--json", "--check", lock)
    assert result.code == 1
    assert result.json == {**tiny_build.plan.to_json(), "known_broken": []}
    assert result.err == (
        f"error: {lock}: the file and this plan differ in 1 point\n  SMs of the target: 131 in the file, 132 now\n"
        f"hint: kregistry plan {tiny_file} -o {lock} accepts them\n"
    )


def test_a_plan_that_agrees_with_its_lock(
    kregistry: Run, tiny_file: Path, tiny_build: BuildReport, tmp_path: Path
) -> None:
    lock = tmp_path / "kernels.lock"
    lock.write_text(json.dumps(tiny_build.plan.to_json()))
    result = kregistry("plan", tiny_file, "--check", lock)
    assert (result.code, result.out) == (0, f"{lock} agrees with this plan: 1 kernel\n")


@pytest.mark.stub
def test_an_arch_that_a_kernel_type_does_not_support_is_an_error_of_its_entry(kregistry: Run, tmp_path: Path) -> None:
    path = tmp_path / "k.yaml"
    path.write_text(with_kernels("{type: fp8_gemm_nt, label: q, shape: {n: 128, k: 128}, m: {stop: 8}}"))
    result = kregistry("plan", path, "-t", "rtx-pro-6000", "--json")
    version = result.json["versions"]["deep_gemm"]
    if not version.startswith("0.1"):
        pytest.fail(f"the pinned DeepGEMM is 0.1, found {version}")
    (entry,) = result.json["entries"]
    assert result.code == 1
    assert entry["error"] == (
        "not supported on rtx-pro-6000 (sm120): DeepGEMM 0.1 asserts 'Unknown recipe' (layout.hpp:76) on sm120 "
        f"(needs DeepGEMM >=0.2, found {version})"
    )
    assert result.err == (
        f"error: 1 problem in 1 entry\n  v3: fp8_gemm_nt n=128 k=128 scales=ue8m0 (q): {entry['error']}\n"
    )
    assert (entry["segments"], result.json["kernels"]) == ([], {})


@pytest.mark.stub
def test_a_lock_file_that_cannot_be_written(
    kregistry: Run, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found before the work."""
    result = kregistry("plan", tiny_file, "-o", tmp_path)
    assert result.code == 4
    assert result.err == f"error: {tmp_path}: Is a directory\n"
    assert result.out == ""


@pytest.mark.stub
def test_no_compiler(kregistry: Run, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    for command in ("plan", "build", "verify"):
        result = kregistry(command, tiny_file)
        assert (result.code, result.out) == (3, "")
        assert result.err == (
            f"error: no CUDA compiler (bin/nvcc and include/cuda.h) in {tmp_path} (CUDA_HOME)\n"
            "hint: set CUDA_HOME to a CUDA toolkit, or unset it and run pip install 'cuda-toolkit[nvcc,cccl,crt,nvvm]'"
            "; torch and DeepGEMM stay as they are\n"
        )


def test_no_c_compiler(
    kregistry: Run, tiny_file: Path, tiny_build: BuildReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kregistry.toolchain import find_cuda_toolkit

    monkeypatch.setenv("CUDA_HOME", str(find_cuda_toolkit().home))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    result = kregistry("plan", tiny_file)
    assert result.code == 3
    assert result.err.startswith("error: no C compiler (cc, gcc or clang) on PATH\nhint: ")


def test_no_cuda_torch(kregistry: Run, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = tmp_path / "site" / "torch-2.11.0+cpu.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.11.0+cpu\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    result = kregistry("plan", tiny_file)
    assert result.code == 3
    assert result.err == (
        "error: torch 2.11.0+cpu is a build without CUDA; planning runs CUDA's host code, although no GPU\n"
        "hint: pip uninstall torch, then pip install torch==2.11.0: PyPI has the CUDA build, which works on a machine "
        "without a GPU\n"
    )


@pytest.mark.stub
def test_an_empty_selection_is_a_plan_of_nothing(kregistry: Run, tmp_path: Path) -> None:
    path = tmp_path / "k.yaml"
    path.write_text("version: 1\ntarget: h100\nmodels: {a: {kernels: []}}\n")
    result = kregistry("plan", path, "--json")
    assert result.code == 0
    assert (result.json["kernels"], result.json["entries"]) == ({}, [])


@pytest.mark.stub
def test_an_entry_without_kernels_is_no_mistake_and_says_so(kregistry: Run, tmp_path: Path) -> None:
    path = tmp_path / "k.yaml"
    path.write_text(
        "version: 1\ntarget: h100\nmodels: {a: {kernels: [{type: transform_sf_into_required_layout, "
        "shape: {k: 512, rows_per_scale: 128}, mn: {stop: 4}}]}}\n"
    )
    result = kregistry("plan", path)
    assert (result.code, result.err) == (0, "")
    said, total = result.out.splitlines()[-2:]
    assert said.startswith("a: transform_sf_into_required_layout k=512") and said.endswith(": nothing to compile")
    assert total.startswith("0 kernels for h100")


_REUSES = """
import sys
from kregistry.cli import main

sys.argv = ["kregistry", *sys.argv[1:]]
try:
    main()
finally:
    heavy = sorted({"torch", "deep_gemm"} & set(sys.modules))
    assert not heavy, heavy
"""


def test_a_plan_that_is_kept_is_used_by_plan_build_and_verify(
    kregistry: Run, tiny_file: Path, tiny_build: BuildReport, session_store: Store, tmp_path: Path
) -> None:
    """In processes of their own, which do not import torch."""
    store, jit = ("--store", session_store.directory), ("--cache-dir", tmp_path / "jit")
    fingerprint = tiny_build.plan.fingerprint
    outputs = []
    for arguments in (("plan", *store), ("build", *store, *jit), ("verify", *store, *jit)):
        command = [sys.executable, "-c", _REUSES, arguments[0], str(tiny_file), "-v", *map(str, arguments[1:])]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert f"plan {fingerprint}: made by an earlier command, used again" in done.stderr
        outputs.append(done.stdout)
    assert "1 kernel for h100" in outputs[0]
    assert "(0 compiled, 1 found" in outputs[1]
    assert outputs[2] == "1 of 1 kernels are in place and intact\n"


@pytest.mark.stub
def test_replan_plans_again_and_quiet_says_nothing(
    kregistry: Run, tiny_file: Path, tiny_build: BuildReport, session_store: Store
) -> None:
    store = ("--store", session_store.directory)
    again = kregistry("plan", tiny_file, *store, "--replan", "-v")
    assert again.err.splitlines()[-1] == f"plan {tiny_build.plan.fingerprint}: made now"
    quiet = kregistry("plan", tiny_file, *store, "-q")
    assert (quiet.err, quiet.out) == ("", again.out)
    both = kregistry("plan", tiny_file, *store, "-q", "-v")
    assert both.code == 2 and "-q and -v exclude each other" in both.err
