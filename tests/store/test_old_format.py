"""A store that an older kregistry has filled is found, and its entries make way for new ones."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from kregistry.errors import StorageError
from kregistry.kernel import Kernel
from kregistry.store import Store, old_format
from kregistry.store.store import CUBIN, RECORD, OutdatedEntry

#: As kregistry 0.1.0 wrote it.
OLD_RECORD = """{
 "name": "transpose_fp32",
 "symbol": "_ZN9deep_gemm14transpose_fp32ILj512ELj64ELj4ELj5EEEvPKfPfj",
 "sha256": "7ea990845fa638a5dd88e474e95b0008f9d90dd51cc4c09d962fb58e60757293",
 "bytes": 7296,
 "seconds": 0.729,
 "compiler": "nvcc",
 "flags": []
}"""
KEYS = [f"{number:064x}" for number in range(3)]


@pytest.fixture
def old(tmp_path: Path) -> Store:
    """Three kernels, a broken one, a plan, a result of a self-check, and what is none of these."""
    store = tmp_path / "old"
    for key in KEYS:
        entry = store / "kernels" / key[:2] / key
        entry.mkdir(parents=True)
        (entry / RECORD).write_text(OLD_RECORD)
        (entry / CUBIN).write_bytes(b"cubin")
    for name in (f"broken/00/{KEYS[0]}.json", f"plans/{'a' * 32}.json", "front_ends/0f.json"):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_text("{}")
    (store / "costs.json").write_text("{}")
    (store / "kernels" / "mine").mkdir()
    (store / "kernels" / "mine" / "kernel.json").write_text("{}")
    return Store(store)


def files(store: Store) -> set[str]:
    return {path.relative_to(store.directory).as_posix() for path in store.directory.rglob("*") if path.is_file()}


def test_opening_removes_what_has_no_digest_and_nothing_else(old: Store, kernel: Kernel, cubin: bytes) -> None:
    old.put(kernel, cubin, "nvcc", 1.0)  # an entry of today, in a store without a format: the file was lost
    new = f"kernels/{kernel.key[:2]}/{kernel.key}/"
    assert old_format.is_outdated(old.directory)
    assert old.open() == 3
    assert files(old) == {"costs.json", "format", "kernels/mine/kernel.json", new + CUBIN, new + RECORD}
    assert not old_format.is_outdated(old.directory)
    assert old.open() == 0


def test_an_old_entry_is_not_used(old: Store) -> None:
    with pytest.raises(OutdatedEntry, match=r"kregistry 0\.1\.0"):
        old.get(KEYS[0])


def test_a_new_store_is_not_an_old_one(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    assert not old_format.is_outdated(store.directory)
    assert store.open() == 0
    assert (store.directory / "format").read_text() == "2\n"


def test_several_processes_remove_each_entry_once(old: Store) -> None:
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(old.open())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == 6 and sum(counts) == 3


@pytest.mark.parametrize("content", ["", "x", "1", "-1", "9" * 5000])
def test_a_format_that_cannot_be_read_is_the_oldest(old: Store, content: str) -> None:
    (old.directory / "format").write_text(content)
    assert old.open() == 3


def test_a_store_of_a_newer_kregistry_is_left_alone(old: Store) -> None:
    (old.directory / "format").write_text("3\n")
    before = files(old)
    with pytest.raises(StorageError) as caught:
        old.open()
    assert str(caught.value) == (
        f"{old.directory}: a store of format 3; this kregistry reads format 2\n"
        "hint: name another directory with --store, or update kregistry"
    )
    assert files(old) == before


def test_a_damaged_record_is_not_taken_for_an_old_one(store: Store, kernel: Kernel, cubin: bytes) -> None:
    store.put(kernel, cubin, "nvcc", 1.0)
    path = store.entry(kernel.key) / RECORD
    path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": 3}))
    (store.directory / "format").unlink(missing_ok=True)
    assert store.open() == 0
    assert path.exists()


def test_an_entry_that_was_made_anew_since_it_was_listed_stays(
    old: Store, kernel: Kernel, cubin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has removed the old one, and compiled the kernel."""
    old.put(kernel, cubin, "nvcc", 1.0)
    listed = [old.entry(kernel.key) / RECORD, old.directory / "plans" / f"{'b' * 32}.json"]
    listed[1].write_bytes(listed[0].read_bytes())
    monkeypatch.setattr(old_format, "_outdated", lambda store: iter(listed))
    assert old.open() == 0
    assert old.get(kernel.key) is not None and listed[1].is_file()
    assert list((old.directory / "tmp").iterdir()) == []


def test_what_is_removed_may_be_removed_by_another_process_as_abandoned(
    old: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old entry that was set aside looks like something that a dead process has left."""
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        moved = real(self, target)
        shutil.rmtree(target) if Path(target).is_dir() else Path(target).unlink()
        return moved

    monkeypatch.setattr(Path, "rename", rename)
    old.open()
    monkeypatch.undo()
    assert not old_format.is_outdated(old.directory) and old.open() == 0
