"""Builds from a lock file with sources: the same keys, no torch, and nothing that the lock file may not ask for."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Result
from environments import DEEP_GEMM_EXTRA, Environment, copy_of_the_clone

from kregistry.compile import BuildReport
from kregistry.compile.build_lock import build_lock
from kregistry.compile.locked_kernels import installed_headers, locked_kernels
from kregistry.compile.plan_and_build import build_kernels
from kregistry.compile.shard import Shard
from kregistry.compile.shared.comparison import difference
from kregistry.compile.stages.alone import Alone
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.errors import InputError, MissingRequirement
from kregistry.manifest import Manifest
from kregistry.plan.lock import check_lock, write_lock
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.toolchain import Toolchain

pytestmark = [pytest.mark.stub, pytest.mark.nvcc]
Run = Callable[..., Result]
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def lock(tiny_build: BuildReport, toolchain: Toolchain, tmp_path: Path) -> Path:
    path = tmp_path / "kernels.lock"
    write_lock(tiny_build.plan, path, toolchain.cuda.compiler)
    return path


def edited(lock: Path, edit: Edit) -> Path:
    content = json.loads(lock.read_text())
    edit(content)
    lock.write_text(json.dumps(content))
    return lock


def only(section: dict[str, Any]) -> dict[str, Any]:
    (value,) = section.values()
    assert isinstance(value, dict)
    return value


def test_the_kernels_of_a_lock_file_are_those_of_the_plan(
    lock: Path, tiny_build: BuildReport, toolchain: Toolchain
) -> None:
    kernels = locked_kernels(lock, toolchain.cuda.compiler)
    assert {name: each.key for name, each in kernels.items()} == {
        name: each.key for name, each in tiny_build.plan.kernels.items()
    }
    assert not any(each.has_cache_entry for each in kernels.values())
    check_lock(tiny_build.plan, lock)


def test_an_environment_without_torch_compiles_a_lock_file(
    lock: Path, tiny_build: BuildReport, session_store: Store, tmp_path: Path
) -> None:
    environment = Environment(tmp_path / "env", without=[each for each in DEEP_GEMM_EXTRA if each != "nvidia"])
    environment.install("-e", copy_of_the_clone(tmp_path / "kregistry"))  # it writes into the clone
    store = tmp_path / "store"
    (headers,) = installed_headers()
    command = ("kregistry", "build", "--lock", lock, "--headers", headers, "--store", store)
    assert "1 of 1 kernels ready in" in environment.run(*command, cwd=tmp_path)
    (key,) = [kernel.key for kernel in tiny_build.plan.kernels.values()]
    made, expected = Store(store).get(key), session_store.get(key)
    assert made is not None and expected is not None
    assert difference(made.cubin.read_bytes(), expected.cubin.read_bytes()) == ""
    missing = environment.try_to_run("kregistry", "build", "--lock", lock, "--store", store, cwd=tmp_path)
    assert missing.returncode == 3
    assert f"{lock} needs DeepGEMM's headers (" in missing.stderr and "no DeepGEMM is installed" in missing.stderr


def test_a_planned_build_uses_what_the_lock_file_beside_it_started(
    lock: Path, tiny_manifest: Manifest, registry: Registry, toolchain: Toolchain, session_store: Store, tmp_path: Path
) -> None:
    """The kernel counts once, and the JIT cache is filled only because the dry run confirms it."""
    shutil.copytree(session_store.directory / "plans", tmp_path / "store" / "plans")
    store, jit_cache = Store(tmp_path / "store"), JitCache(tmp_path / "jit")
    report = build_kernels(
        tiny_manifest, registry, store=store, jit_cache=jit_cache, toolchain=toolchain, lock=lock, replan=True
    )
    assert (len(report.compiled), report.found, report.ready, report.filled) == (1, 0, 1, 1)
    (kernel,) = report.plan.kernels.values()
    assert jit_cache.cubin(kernel).is_file()


def test_kernels_that_are_not_confirmed_fill_no_cache(lock: Path, session_store: Store, tmp_path: Path) -> None:
    shutil.copytree(session_store.directory, tmp_path / "store")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("DG_JIT_CACHE_DIR", str(tmp_path / "jit"))
        report = build_lock(lock, Registry(load_entry_points=False).events, store=Store(tmp_path / "store"))
    assert (report.found, report.filled, (tmp_path / "jit").exists()) == (1, 0, False)


def test_a_lock_file_of_another_machine_is_no_error_for_a_planned_build(
    lock: Path, tiny_manifest: Manifest, registry: Registry, toolchain: Toolchain, session_store: Store, tmp_path: Path
) -> None:
    edited(lock, lambda content: content["sources"].update(nvcc="12.9.41"))
    report = build_kernels(
        tiny_manifest, registry, store=session_store, jit_cache=JitCache(tmp_path), toolchain=toolchain, lock=lock
    )
    assert report.ready == 1


def _claims_a_header(content: dict[str, Any]) -> None:
    """The lock file says that a header of the system is in the directory of DeepGEMM's headers."""
    only(content["sources"]["directories"])["pwd.h"] = "0" * 64
    section = only(content["sources"]["kernels"])
    section["source"] = section["source"].replace("\nusing namespace", "\n#include <pwd.h>\nusing namespace")


def _rename(content: dict[str, Any]) -> None:
    kernels = content["kernels"]
    section = only(kernels)
    kernels.clear()
    section["name"] = "../../x"
    name = f"../../x.{section['key'][:16]}"
    kernels[name] = section
    sources = content["sources"]["kernels"]
    sources[name] = only(sources)
    for entry in content["entries"]:
        for segment in entry["segments"]:
            segment["kernels"] = [name]


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (lambda c: only(c["sources"]["kernels"])["flags"].append("-ccbin=/tmp/x"), "the flag '-ccbin=/tmp/x'"),
        (lambda c: only(c["sources"]["kernels"])["flags"].append("-O1"), "do not give its key"),
        (_claims_a_header, "the source includes pwd.h, which is not one of DeepGEMM's headers"),
        (lambda c: only(c["kernels"]).update(key="../../../x"), "a key of a kernel is not a sha256"),
        (lambda c: only(c["sources"]["kernels"]).update(source='#include "/etc/passwd"\n'), "does not have the form"),
        (lambda c: only(c["sources"]["kernels"]).update(headers=["/etc"]), "is not one that kregistry writes"),
        (lambda c: c["sources"]["kernels"].clear(), "its source is missing"),
        (lambda c: c["sources"].update(kernels=3), "expected another type"),
        (lambda c: c.pop("sources"), "a lock file without sources"),
        (_rename, "its name"),
    ],
)
def test_an_edited_lock_file_is_refused(lock: Path, toolchain: Toolchain, edit: Edit, found: str) -> None:
    with pytest.raises(InputError) as caught:
        locked_kernels(edited(lock, edit), toolchain.cuda.compiler)
    assert found in str(caught.value) and str(lock) in str(caught.value)


def test_the_header_that_differs_is_named(lock: Path, toolchain: Toolchain, tmp_path: Path) -> None:
    (headers,) = installed_headers()
    copy = tmp_path / "include"
    shutil.copytree(headers, copy, symlinks=True, copy_function=os.link)
    changed = next(copy.rglob("sm90_tf32_hc_prenorm_gemm.cuh"))
    text = changed.read_bytes()
    changed.unlink()
    changed.write_bytes(text + b"\n")
    with pytest.raises(MissingRequirement, match=r"sm90_tf32_hc_prenorm_gemm\.cuh is not the header that"):
        locked_kernels(lock, toolchain.cuda.compiler, [copy])


def test_a_header_of_the_toolkit_that_differs_is_named(lock: Path, toolchain: Toolchain) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["sources"]["toolkit"]["cuda_runtime.h"] = "0" * 64
        section = only(content["kernels"])
        old, new = section["key"][:16], "f" * 16
        section["key"] = new + section["key"][16:]
        for mapping in (content["kernels"], content["sources"]["kernels"]):
            ((name, value),) = mapping.items()
            mapping.clear()
            mapping[name.replace(old, new)] = value
        for entry in content["entries"]:
            for segment in entry["segments"]:
                segment["kernels"] = [each.replace(old, new) for each in segment["kernels"]]

    with pytest.raises(MissingRequirement, match=r"the CUDA toolkit's header cuda_runtime\.h is not the one"):
        locked_kernels(edited(lock, edit), toolchain.cuda.compiler)


def test_another_compiler_is_named(lock: Path, toolchain: Toolchain) -> None:
    edited(lock, lambda content: content["sources"].update(nvcc="12.9.41"))
    with pytest.raises(MissingRequirement, match=r"was made with nvcc 12\.9\.41, and .* is nvcc 13"):
        locked_kernels(lock, toolchain.cuda.compiler)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("plan", "--sources"), "--sources needs -o FILE"),
        (("build", "--headers", "x"), "--headers is used with --lock only"),
        (("build", "--lock", "k.lock", "-m", "v3"), "--lock builds a whole lock file"),
        (("build", "--lock", "k.lock", "other.yaml"), "--lock builds a whole lock file"),
    ],
)
def test_options_that_contradict_each_other(kregistry: Run, arguments: tuple[str, ...], found: str) -> None:
    result = kregistry(*arguments)
    assert (result.code, found in result.err) == (2, True)


def test_a_part_of_a_lock_file(lock: Path, session_store: Store, tmp_path: Path) -> None:
    """Its one kernel is in the first part or in the second, and the parts say how many they have."""
    shutil.copytree(session_store.directory, tmp_path / "store")
    events = Registry(load_entry_points=False).events
    parts = [build_lock(lock, events, store=Store(tmp_path / "store"), shard=Shard(index, 2)) for index in (1, 2)]
    assert sorted(part.total for part in parts) == [0, 1]
    assert sorted(part.found for part in parts) == [0, 1]


def test_a_kernel_that_a_stage_loses_ends_the_command_as_a_bug(
    lock: Path, tiny_build: BuildReport, kregistry: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for ever, and what waits is named; nothing of the build is left."""
    monkeypatch.setattr(Alone, "put", lambda *_, **__: None)
    store = tmp_path / "store"
    result = kregistry("build", "--lock", lock, "--store", store, "--no-shared-front-end")
    (kernel,) = tiny_build.plan.kernels.values()
    assert (result.code, result.out) == (70, "")
    assert f"Standstill: nothing is left to do, and these would be waited for without end: {kernel.id}\n" in result.err
    assert "this is a bug in kregistry or in a plugin" in result.err
    assert list((store / "claims").iterdir()) == list((store / "tmp").iterdir()) == []
