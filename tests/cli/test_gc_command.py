"""kregistry gc"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from command_line import Result

from kregistry.compile import BuildReport
from kregistry.compile.pipeline import Pipeline
from kregistry.compile.shared.sharing_options import SharingOptions
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.event_bus import EventBus
from kregistry.kernel import Kernel
from kregistry.plan.lock import write_lock
from kregistry.store import Store, garbage

Run = Callable[..., Result]
DAY = 86400


@pytest.fixture
def aged(session_store: Store, kernel: Kernel, tmp_path: Path) -> Store:
    """A store whose one kernel was used 40 days ago."""
    store = Store(tmp_path / "store")
    shutil.copytree(session_store.directory, store.directory)
    path = store.entry(kernel.key) / "kernel.json"
    then = path.stat().st_mtime - 40 * DAY
    os.utime(path, (then, then))
    return store


def test_what_a_lock_file_names_stays(
    kregistry: Run, aged: Store, kernel: Kernel, tiny_build: BuildReport, tmp_path: Path
) -> None:
    write_lock(tiny_build.plan, tmp_path / "kernels.lock")
    arguments = ("gc", "--store", aged.directory, "--older-than", "30d")
    kept = kregistry(*arguments, "--keep", tmp_path / "kernels.lock")
    assert kept.code == 0 and "0 kernels removed" in kept.out and "1 of them only because --keep names" in kept.out
    tried = kregistry(*arguments, "--dry-run", "--json")
    assert [each["reason"] for each in tried.json["removed"]] == ["age"] and aged.get(kernel.key) is not None
    jsonschema.validate(tried.json, kregistry("schema", "--output-of", "gc").json)
    done = kregistry(*arguments)
    assert done.code == 0 and done.out.startswith("1 kernels removed (") and aged.get(kernel.key) is None
    assert "0 kernels, 0" in kregistry("stats", "--store", aged.directory).out


def test_kernels_of_another_deep_gemm(kregistry: Run, aged: Store, kernel: Kernel, tiny_build: BuildReport) -> None:
    version = tiny_build.plan.versions.deep_gemm
    assert kregistry("gc", "--store", aged.directory, "--deep-gemm", "9.9*").code == 0
    assert aged.get(kernel.key) is not None
    done = kregistry("gc", "--store", aged.directory, "--deep-gemm", version)
    assert done.code == 0 and "1 by chosen" in done.out and aged.get(kernel.key) is None


def test_a_build_compiles_again_what_disappears_under_it(
    aged: Store, kernel: Kernel, cubin: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel is found, and removed before it is linked into the JIT cache."""
    (tmp_path / "real.cubin").write_bytes(cubin)
    nvcc = tmp_path / "nvcc"
    nvcc.write_text(f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\ncp {tmp_path}/real.cubin "$2"\n')
    nvcc.chmod(0o755)
    get, calls = Store.get, []

    def get_and_lose(store: Store, key: str) -> object:
        found = get(store, key)
        if not calls:
            calls.append(key)
            garbage.collect(store, garbage.Rules(older_than=DAY))
        return found

    monkeypatch.setattr(Store, "get", get_and_lose)
    options = SharingOptions(shared=False)
    with Pipeline(EventBus(), aged, JitCache(tmp_path / "jit"), nvcc, 1, options) as pipeline:
        pipeline.add(kernel)
        pipeline.finish()
    assert calls and (len(pipeline.record.compiled), pipeline.record.failed) == (1, [])
    assert JitCache(tmp_path / "jit").cubin(kernel).is_file()


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), "gc: nothing says what to remove\nhint: --older-than 30d"),
        (("--older-than", "soon"), "'soon' is no age, e.g. 30d or 12h"),
        (("--older-than", "-1d"), "is no age"),
        (("--older-than", "30"), "is no age"),
        (("--max-size", "2 apples"), "is no size, e.g. 2GB or 500MiB"),
        (("--max-size", "nan"), "is no size"),
        (("--max-size", "1GB", "--keep", "none.lock"), "none.lock: No such file or directory"),
        (("--max-size", "1GB", "--store", "none"), "none: there is no store"),
    ],
)
def test_wrong_input(
    kregistry: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], found: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = kregistry("gc", *arguments)
    assert (result.code, found in result.err) == (2, True)
    assert not list(tmp_path.iterdir())
