"""kregistry build and verify: complete, incomplete, damaged, and no place to write."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen
from command_line import Result
from compilers import copying_toolkit, refusing_toolkit

from kregistry.compile import BuildReport
from kregistry.compile.built_plan import write_built_plan
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.kernel import Kernel
from kregistry.manifest import load_manifest
from kregistry.plan.kept_plans import plan_path
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.toolchain import Toolchain

Run = Callable[..., Result]


@frozen
class Place:
    """A copy of the store with the tiny kernel, and a JIT cache."""

    store: Store
    jit: JitCache
    directory: Path
    options: tuple[str, ...]


@pytest.fixture
def place(tiny_build: BuildReport, session_store: Store, tmp_path: Path) -> Place:
    shutil.copytree(session_store.directory, tmp_path / "store")
    jit = tmp_path / "jit"
    options = ("--store", str(tmp_path / "store"), "--cache-dir", str(jit))
    return Place(Store(tmp_path / "store"), JitCache(jit), jit, options)


def test_a_build_with_a_full_store_compiles_nothing(kregistry: Run, tiny_file: Path, place: Place) -> None:
    result = kregistry("build", tiny_file, *place.options)
    assert (result.code, result.err) == (0, "")
    lines = [line for line in result.out.splitlines() if line.strip()]
    assert lines[0].split() == ["kernel", "family", "needed", "compiled", "failed", "compiler", "s", "bytes"]
    assert lines[1].split() == ["sm90_tf32_hc_prenorm_gemm", "1", "0", "0", "0.0", "0", "B"]
    assert lines[2].startswith(f"1 of 1 kernels ready in {place.directory} (0 compiled, 1 found, ")


def outdate(store: Store) -> None:
    """Make entries what kregistry 0.1.0 wrote: records that name no key and carry no digest."""
    (store.directory / "format").unlink()
    for path in store.directory.glob("kernels/*/*/kernel.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({name: record[name] for name in record if name not in ("key", "digest")}))


def test_a_store_of_an_older_version_is_found_to_be_old_and_filled_again(
    kregistry: Run,
    tiny_file: Path,
    place: Place,
    toolchain: Toolchain,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cubin: bytes,
) -> None:
    monkeypatch.setenv("CUDA_HOME", str(copying_toolkit(tmp_path / "cuda", toolchain, cubin)))
    outdate(place.store)
    found = kregistry("verify", tiny_file, *place.options)
    assert found.code == 1
    assert "damaged: kernel.json has the format of kregistry 0.1.0, without a digest" in found.err
    build = " ".join(("kregistry build", str(tiny_file), *place.options))
    assert f"hint: kregistry 0.1.0 has filled the store: {build} compiles its kernels again" in found.err
    result = kregistry("build", tiny_file, *place.options)
    lines = result.out.splitlines()
    assert "The store held 1 kernel of kregistry 0.1.0 without a digest: it was removed, to be compiled again." in lines
    assert "1 of 1 kernels ready" in result.out and "(1 compiled, 0 found, " in result.out
    assert kregistry("verify", tiny_file, *place.options).code == 0
    assert "0.1.0" not in kregistry("build", tiny_file, *place.options).out


def test_a_damaged_plan_is_found_by_verify_and_removed_by_build(
    kregistry: Run, tiny_file: Path, place: Place, tiny_build: BuildReport, toolchain: Toolchain, registry: Registry
) -> None:
    kregistry("build", tiny_file, *place.options)
    path = plan_path(place.store.directory, load_manifest(tiny_file, registry), registry, toolchain)
    write_built_plan(path, tiny_build)
    assert kregistry("verify", tiny_file, *place.options).code == 0
    good = path.read_text()
    other = path.with_name("f" * 32 + ".json")
    write_built_plan(other, tiny_build)
    damages = {
        good.replace('"start": 1', '"start": 3'): "damaged: not a lock file of version 1: its content was changed",
        good[:100]: "damaged: not JSON",
        other.read_text(): "it is the plan of something else",
    }
    for content, text in damages.items():
        path.write_text(content)
        found = kregistry("verify", tiny_file, *place.options)
        assert found.code == 1
        assert f"plan: {path}: {text}" in found.err
        assert kregistry("build", tiny_file, *place.options).code == 0
        assert kregistry("verify", tiny_file, *place.options).code == 0


def test_a_kernel_that_does_not_compile(
    kregistry: Run, place: Place, toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: Kernel
) -> None:
    """The others are ready, entry and range that would crash a server are named, exit 5. Later commands know it."""
    cuda = refusing_toolkit(tmp_path / "cuda", toolchain)
    monkeypatch.setenv("CUDA_HOME", str(cuda))
    path = tmp_path / "k.yaml"
    path.write_text("""
version: 1
target: h100
models:
  tiny:
    kernels:
      - {type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 256}, m: {stop: 4}}
      - {type: tf32_hc_prenorm_gemm, label: second, shape: {n: 16, k: 256}, m: {start: 2, stop: 9}}
""")
    crash = "a server would crash in tiny: tf32_hc_prenorm_gemm n=16 k=256 num_splits=none (second) at m 2..9"
    result = kregistry("build", path, *place.options, "--json")
    assert result.code == 5
    report = result.json
    assert (report["kernels"], report["ready"], report["compiled"]) == (2, 1, [])
    (failed,) = report["failed"]
    assert failed["output"] == "kernel.cu(3): error: too many registers"
    assert failed["command"].startswith(f"{cuda}/bin/nvcc ")
    assert result.err == (
        f"{failed['id']} does not compile\n"
        "error: 1 of 2 kernels do not compile\n"
        f"  {failed['id']} does not compile\n"
        f"    {crash}\n"
        "    kernel.cu(3): error: too many registers\n"
        "hint: --allow-broken goes on without them, where no call comes to these values; "
        "see `kregistry docs broken-kernels`\n"
    )
    assert place.jit.cubin(kernel).exists()

    words = f"{failed['id']} is known not to compile\n    {crash}\n    kernel.cu(3): error: too many registers\n"
    accepted = kregistry("build", path, *place.options, "--allow-broken")
    assert accepted.code == 0
    assert "1 of 2 kernels ready" in accepted.out
    assert accepted.err == f"{failed['id']} is known not to compile\nwarning: {words}"
    planned = kregistry("plan", path, "--store", place.store.directory, "--json")
    assert (planned.code, [each["id"] for each in planned.json["known_broken"]]) == (5, [failed["id"]])
    assert planned.err.startswith(f"error: 1 of 2 kernels do not compile\n  {words}hint: ")
    accepted = kregistry("plan", path, "--store", place.store.directory, "--allow-broken")
    assert (accepted.code, accepted.err) == (0, f"warning: {words}")
    verified = kregistry("verify", path, *place.options, "--json")
    assert (verified.code, verified.json["intact"], verified.json["kernels"]) == (5, 1, 2)
    assert [each["id"] for each in verified.json["broken"]] == [failed["id"]]
    assert kregistry("verify", path, *place.options, "--allow-broken").code == 0


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk(kregistry: Run, tiny_file: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", full_disk)
    result = kregistry("build", tiny_file, *place.options)
    assert (result.code, result.out) == (4, "")
    lines = result.err.splitlines()
    assert lines[0].startswith(f"error: {place.directory}/cache/kernel.") and lines[0].endswith(
        ": No space left on device"
    )
    assert lines[1:] == ["hint: free some space, or name another directory with --store or --cache-dir"]


def test_a_store_and_a_cache_that_cannot_be_written(
    kregistry: Run, tiny_file: Path, place: Place, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    result = kregistry("build", tiny_file, "--store", tmp_path / "file" / "store")
    assert (result.code, result.out) == (4, "")
    hint = "hint: a file is where a directory should be: remove it\n"
    assert result.err == f"error: {tmp_path}/file/store/kernels: Not a directory\n{hint}"
    result = kregistry("build", tiny_file, "--store", place.store.directory, "--cache-dir", tmp_path / "file" / "jit")
    assert (result.code, result.out) == (4, "")
    assert re.fullmatch(f"error: {tmp_path}/file/jit/tmp/[^/]*: Not a directory\n{hint}", result.err)


def test_verify_finds_everything_intact(kregistry: Run, tiny_file: Path, place: Place, kernel: Kernel) -> None:
    stored = place.store.get(kernel.key)
    assert stored is not None
    place.jit.fill(kernel, stored)
    result = kregistry("verify", tiny_file, *place.options)
    assert (result.code, result.out, result.err) == (0, "1 of 1 kernels are in place and intact\n", "")


def test_verify_names_a_damaged_cubin(kregistry: Run, tiny_file: Path, place: Place, kernel: Kernel) -> None:
    stored = place.store.get(kernel.key)
    assert stored is not None
    content = bytearray(stored.cubin.read_bytes())
    content[len(content) // 2] ^= 1
    stored.cubin.write_bytes(content)
    result = kregistry("verify", tiny_file, *place.options, "--json")
    where = place.store.entry(kernel.key)
    assert result.code == 1
    assert result.json == {
        "kernels": 1,
        "intact": 0,
        "faults": [
            {
                "id": kernel.id,
                "place": f"store {where}",
                "text": "damaged: the cubin's sha256 differs from the recorded one",
            }
        ],
        "broken": [],
        "problems": [],
    }
    build = " ".join(("kregistry build", str(tiny_file), *place.options))
    assert result.err == (
        "error: 1 of 1 kernels are missing or damaged\n"
        f"  {kernel.id}: store {where}: damaged: the cubin's sha256 differs from the recorded one\n"
        f"hint: {build} compiles what is missing or damaged\n"
    )


def test_verify_names_what_is_missing(kregistry: Run, tiny_file: Path, place: Place, kernel: Kernel) -> None:
    result = kregistry("verify", tiny_file, *place.options)
    assert result.code == 1
    assert result.out == "0 of 1 kernels are in place and intact\n"
    assert f"  {kernel.id}: JIT cache {place.jit.entry(kernel)}: missing\n" in result.err
