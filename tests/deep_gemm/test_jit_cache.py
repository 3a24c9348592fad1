"""DeepGEMM's cache directory: where it is, how it is filled, and how it is repaired."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from kregistry.deep_gemm.jit_cache import Filled, JitCache
from kregistry.errors import StorageError
from kregistry.kernel import Kernel
from kregistry.store import Store
from kregistry.store.store import StoredKernel


@pytest.fixture
def stored(store: Store, kernel: Kernel, cubin: bytes) -> StoredKernel:
    return store.put(kernel, cubin, "nvcc", 1.0)


@pytest.fixture
def jit(tmp_path: Path) -> JitCache:
    return JitCache(tmp_path / "jit")


DEEP_GEMM_1 = Path(".deep_gemm/cache/kernel.name.0123")
DEEP_GEMM_2 = Path(".dj/cache/kernel.name.0123")


@pytest.mark.parametrize(
    ("entry", "environment", "expected"),
    [
        (DEEP_GEMM_1, {}, "~/.deep_gemm"),
        (DEEP_GEMM_1, {"DG_JIT_CACHE_DIR": "/a"}, "/a"),
        (DEEP_GEMM_1, {"DG_JIT_CACHE_DIR": ""}, "~/.deep_gemm"),
        (DEEP_GEMM_1, {"DJ_JIT_CACHE_DIR": "/b"}, "~/.deep_gemm"),
        (DEEP_GEMM_1, {"DG_JIT_CACHE_DIR": "/a:/b"}, "/a:/b"),
        (DEEP_GEMM_2, {}, "~/.dj"),
        (DEEP_GEMM_2, {"DJ_JIT_CACHE_DIR": "/b"}, "/b"),
        (DEEP_GEMM_2, {"DG_JIT_CACHE_DIR": "/a", "DJ_JIT_CACHE_DIR": "/b"}, "/a"),
        (DEEP_GEMM_2, {"DJ_JIT_CACHE_DIR": "/b:/c"}, "/b"),
    ],
)
def test_the_directory_is_where_that_version_of_deep_gemm_looks(
    kernel: Kernel, entry: Path, environment: dict[str, str], expected: str
) -> None:
    there = evolve(kernel, cache_entry=entry)
    cache = JitCache(environment={"HOME": os.environ["HOME"], **environment})
    home = Path(expected).expanduser()
    assert cache.directory_for(there) == home
    assert cache.entry(there) == home / "cache" / "kernel.name.0123"
    assert cache.cubin(there) == home / "cache" / "kernel.name.0123" / "kernel.cubin"


def test_a_given_directory_wins(kernel: Kernel, tmp_path: Path) -> None:
    cache = JitCache(tmp_path, {"DG_JIT_CACHE_DIR": "/a"})
    assert cache.directory_for(kernel) == tmp_path


def test_a_kernel_in_a_later_directory_is_found_there(
    kernel: Kernel, stored: StoredKernel, cubin: bytes, tmp_path: Path
) -> None:
    """DeepGEMM 0.2 looks in each directory, and writes to the first."""
    there = evolve(kernel, cache_entry=DEEP_GEMM_2)
    both = JitCache(environment={"DG_JIT_CACHE_DIR": f"{tmp_path}/first:{tmp_path}/second"})
    second = JitCache(tmp_path / "second")
    assert both.entry(there) == tmp_path / "first" / "cache" / "kernel.name.0123"
    second.fill(there, stored)
    assert both.entry(there) == second.entry(there)
    assert both.fault(there, stored) is None and both.fill(there, stored) is Filled.PRESENT
    rewrite(second.cubin(there), b"damaged")
    assert both.fault(there, stored) == "the cubin differs from the store's"
    assert both.fill(there, stored) is Filled.ADDED
    assert both.cubin(there) == tmp_path / "first" / "cache" / "kernel.name.0123" / "kernel.cubin"
    assert both.fault(there, stored) is None and second.cubin(there).read_bytes() == b"damaged"


def test_what_deep_gemm_compiles_is_sought_in_the_first_directory(
    kernel: Kernel, stored: StoredKernel, tmp_path: Path
) -> None:
    there = evolve(kernel, cache_entry=DEEP_GEMM_2)
    both = JitCache(environment={"DG_JIT_CACHE_DIR": f"{tmp_path}/first:{tmp_path}/second"})
    assert both.written_directories([there, there]) == [tmp_path / "first" / "cache"]
    JitCache(tmp_path / "second").fill(there, stored)
    assert both.written_directories([there]) == [tmp_path / "first" / "cache"]


def test_filling_adds_a_hard_link_and_what_lies_beside_it(
    jit: JitCache, kernel: Kernel, stored: StoredKernel, tmp_path: Path
) -> None:
    assert jit.fault(kernel, stored) == "missing"
    assert jit.fill(kernel, stored) is Filled.ADDED
    entry = jit.entry(kernel)
    assert jit.cubin(kernel).samefile(stored.cubin)
    assert {path.name: path.read_bytes() for path in entry.iterdir() if path.name != "kernel.cubin"} == kernel.files
    assert jit.fault(kernel, stored) is None
    assert jit.fill(kernel, stored) is Filled.PRESENT
    assert list((tmp_path / "jit" / "tmp").iterdir()) == []


def test_another_device_gets_a_copy(
    jit: JitCache, kernel: Kernel, stored: StoredKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    assert jit.fill(kernel, stored) is Filled.ADDED
    assert not jit.cubin(kernel).samefile(stored.cubin)
    assert jit.cubin(kernel).read_bytes() == stored.cubin.read_bytes()
    assert jit.fill(kernel, stored) is Filled.PRESENT


def rewrite(path: Path, content: bytes) -> None:
    """Not in place: the cubin may be a link to the store's."""
    path.unlink()
    path.write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cubin is gone": (lambda entry: (entry / "kernel.cubin").unlink(), "kernel.cubin is missing"),
    "cubin is empty": (
        lambda entry: rewrite(entry / "kernel.cubin", b""),
        "the cubin differs from the store's",
    ),
    "cubin is another": (
        lambda entry: rewrite(entry / "kernel.cubin", b"dummy"),
        "the cubin differs from the store's",
    ),
    "source is gone": (lambda entry: (entry / "kernel.cu").unlink(), "kernel.cu is missing"),
}


@pytest.mark.parametrize(("damage", "text"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_entry_is_named_and_repaired(
    jit: JitCache,
    kernel: Kernel,
    stored: StoredKernel,
    cubin: bytes,
    damage: Callable[[Path], object],
    text: str,
) -> None:
    jit.fill(kernel, stored)
    damage(jit.entry(kernel))
    assert jit.fault(kernel, stored) == text
    assert jit.fill(kernel, stored) is Filled.REPAIRED
    assert jit.fault(kernel, stored) is None
    assert {path.name for path in jit.entry(kernel).iterdir()} == {"kernel.cubin", *kernel.files}
    assert stored.cubin.read_bytes() == cubin


def test_repairing_an_entry_that_is_a_link_to_the_store_already(
    jit: JitCache, kernel: Kernel, stored: StoredKernel
) -> None:
    jit.fill(kernel, stored)
    (jit.entry(kernel) / "kernel.cu").unlink()
    assert jit.fill(kernel, stored) is Filled.REPAIRED
    assert jit.cubin(kernel).samefile(stored.cubin)
    assert {path.name for path in jit.entry(kernel).iterdir()} == {"kernel.cubin", "kernel.cu"}


def test_a_process_that_fills_at_the_same_time_is_no_harm(
    jit: JitCache, kernel: Kernel, stored: StoredKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process publishes between our look and our rename."""
    real = Path.rename

    def late(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", real)
        JitCache(jit.directory_for(kernel)).fill(kernel, stored)
        return real(self, target)

    monkeypatch.setattr(Path, "rename", late)
    assert jit.fill(kernel, stored) is Filled.ADDED
    assert jit.fault(kernel, stored) is None


def test_a_full_disk_is_reported_and_leaves_nothing(
    jit: JitCache, kernel: Kernel, stored: StoredKernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError) as caught:
        jit.fill(kernel, stored)
    assert caught.value.text == "No space left on device"
    assert list((tmp_path / "jit" / "tmp").iterdir()) == []
    assert jit.fault(kernel, stored) == "missing"


def test_a_directory_that_cannot_be_written(kernel: Kernel, stored: StoredKernel, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        JitCache(tmp_path / "file" / "jit").fill(kernel, stored)


def test_a_repair_that_is_interrupted_leaves_nothing_in_the_entry(
    jit: JitCache, kernel: Kernel, stored: StoredKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill leaves lies where later runs remove it."""
    jit.fill(kernel, stored)
    rewrite(jit.cubin(kernel), b"damaged")
    before = {path.name for path in jit.entry(kernel).iterdir()}
    at_the_time: set[str] = set()

    def replace(self: Path, target: Path) -> Path:
        at_the_time.update(path.name for path in jit.entry(kernel).iterdir())
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(StorageError, match="Input/output error"):
        jit.fill(kernel, stored)
    assert at_the_time == before
    assert list((jit.directory_for(kernel) / "tmp").iterdir()) == []
