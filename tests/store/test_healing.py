"""Whatever lies in the place of an entry of the store or the JIT cache, the next build puts the kernel there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kregistry.deep_gemm.jit_cache import Filled, JitCache
from kregistry.kernel import Kernel
from kregistry.store import Store
from kregistry.store.store import DamagedEntry


def directory(path: Path) -> None:
    path.mkdir()
    (path / "x").touch()


IN_PLACE: dict[str, Callable[[Path], object]] = {
    "empty file": lambda path: path.touch(),
    "directory": directory,
    "fifo": os.mkfifo,
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link to a directory": lambda path: path.symlink_to("/usr"),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
}


def heal(store: Store, kernel: Kernel, cubin: bytes) -> None:
    """What a build does: look, remove what is damaged, put the kernel there."""
    try:
        stored = store.get(kernel.key)
    except DamagedEntry:
        store.discard(kernel.key)
        stored = None
    if stored is None:
        store.put(kernel, cubin, "nvcc", 1.0)
    found = store.get(kernel.key)
    assert found is not None and found.cubin.read_bytes() == cubin


@pytest.mark.parametrize("make", IN_PLACE.values(), ids=IN_PLACE.keys())
@pytest.mark.parametrize("where", ["", "kernel.cubin", "kernel.json"])
def test_an_entry(
    where: str, make: Callable[[Path], object], store: Store, session_store: Store, kernel: Kernel, cubin: bytes
) -> None:
    entry = store.entry(kernel.key)
    entry.parent.mkdir()
    if where:
        shutil.copytree(session_store.entry(kernel.key), entry)
        (entry / where).unlink()
    make(entry / where if where else entry)
    heal(store, kernel, cubin)
    assert list((store.directory / "tmp").iterdir()) == []


@pytest.mark.parametrize("name", ["empty file", "fifo", "dangling link"])
def test_the_directory_of_entries(name: str, store: Store, kernel: Kernel, cubin: bytes) -> None:
    IN_PLACE[name](store.entry(kernel.key).parent)
    heal(store, kernel, cubin)


def test_a_link_out_of_the_store_is_no_entry(
    store: Store, session_store: Store, kernel: Kernel, cubin: bytes, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(session_store.entry(kernel.key), outside)
    store.entry(kernel.key).parent.mkdir()
    store.entry(kernel.key).symlink_to(outside)
    with pytest.raises(DamagedEntry, match="it is a link"):
        store.get(kernel.key)
    heal(store, kernel, cubin)
    assert (outside / "kernel.cubin").exists()


@pytest.mark.parametrize("make", IN_PLACE.values(), ids=IN_PLACE.keys())
@pytest.mark.parametrize("where", ["", "kernel.cubin", "kernel.cu"])
def test_an_entry_of_the_jit_cache(
    where: str, make: Callable[[Path], object], session_store: Store, kernel: Kernel, tmp_path: Path
) -> None:
    jit_cache, stored = JitCache(tmp_path / "jit"), session_store.get(kernel.key)
    assert stored is not None
    assert jit_cache.fill(kernel, stored) is Filled.ADDED
    entry = jit_cache.entry(kernel)
    place = entry / where if where else entry
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    if not where and make is IN_PLACE["link to a directory"]:
        pytest.skip("a link to a directory is a directory of the user's choice")
    if where == "kernel.cu" and make is IN_PLACE["empty file"]:
        pytest.skip("DeepGEMM does not read it, and a warm start does not know its content")
    make(place)
    assert jit_cache.fault(kernel, stored) is not None
    assert jit_cache.fill(kernel, stored) is not Filled.PRESENT
    assert jit_cache.fault(kernel, stored) is None and jit_cache.cubin(kernel).read_bytes() == stored.cubin.read_bytes()


def test_others_who_can_write_the_store(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.warn_of_others()
    assert not caplog.records
    store.directory.chmod(0o777)
    for _ in range(2):
        store.warn_of_others()
    (record,) = caplog.records
    assert "can be written by everybody" in record.message
