"""The store: what goes in comes out, and whatever is damaged is not used."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from kregistry.errors import StorageError
from kregistry.kernel import Kernel
from kregistry.store import Store, signed_json
from kregistry.store.store import CUBIN, RECORD, DamagedEntry

FULL = "No space left on device"
FULL_HINT = "free some space, or name another directory with --store or --cache-dir"


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_default_directory() -> None:
    assert Store.default({"KREGISTRY_STORE": "/a/b"}).directory == Path("/a/b")
    assert Store.default({}).directory == Path(os.environ["XDG_CACHE_HOME"]) / "kregistry" / "store"
    assert Store.default().directory == Path(os.environ["KREGISTRY_STORE"])


def test_an_empty_store_has_nothing(store: Store) -> None:
    assert store.get("0" * 64) is None
    assert Store(store.directory / "nowhere").get("0" * 64) is None


def test_what_goes_in_comes_out(store: Store, kernel: Kernel, cubin: bytes) -> None:
    put = store.put(kernel, cubin, "nvcc", 2.5)
    got = store.get(kernel.key)
    assert got == put
    assert got.cubin.read_bytes() == cubin
    assert (got.sha256, got.nbytes, got.seconds) == (hashlib.sha256(cubin).hexdigest(), len(cubin), 2.5)
    assert got.cubin.parent == store.directory / "kernels" / kernel.key[:2] / kernel.key
    assert list((store.directory / "tmp").iterdir()) == []
    record = json.loads((got.cubin.parent / RECORD).read_text())
    assert (record["name"], record["compiler"], record["bytes"]) == (kernel.name, "nvcc", len(cubin))
    assert record["symbol"] in cubin.decode("latin-1")
    assert str(store.directory) not in (got.cubin.parent / RECORD).read_text()


def test_putting_again_keeps_the_first(store: Store, kernel: Kernel, cubin: bytes) -> None:
    first = store.put(kernel, cubin, "nvcc", 2.5)
    before = first.cubin.stat().st_ino
    assert store.put(kernel, cubin, "nvcc", 9.9).cubin.stat().st_ino == before
    found = store.get(kernel.key)
    assert found is not None and found.seconds == 2.5


def test_a_store_can_be_moved(store: Store, kernel: Kernel, cubin: bytes, tmp_path: Path) -> None:
    store.put(kernel, cubin, "nvcc", 1.0)
    shutil.move(store.directory, tmp_path / "moved")
    assert Store(tmp_path / "moved").get(kernel.key) is not None


def edit_record(**changes: object) -> Callable[[Path], None]:
    def edit(entry: Path) -> None:
        record = signed_json.decode((entry / RECORD).read_bytes())
        (entry / RECORD).write_bytes(signed_json.encode({**record, **changes}))

    return edit


def cut(entry: Path) -> None:
    content = (entry / CUBIN).read_bytes()
    (entry / CUBIN).write_bytes(content[: len(content) // 2])


def cut_and_sign(entry: Path) -> None:
    cut(entry)
    edit_record(sha256=hashlib.sha256((entry / CUBIN).read_bytes()).hexdigest())(entry)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cubin is gone": (lambda entry: (entry / CUBIN).unlink(), "kernel.cubin is missing"),
    "record is gone": (lambda entry: (entry / RECORD).unlink(), "kernel.json is missing"),
    "cubin is empty": (lambda entry: (entry / CUBIN).write_bytes(b""), "sha256 differs"),
    "cubin is cut": (cut, "sha256 differs"),
    "cubin is cut and signed": (cut_and_sign, "cut short"),
    "another hash": (edit_record(sha256="0" * 64), "sha256 differs"),
    "record is empty": (lambda entry: (entry / RECORD).write_text(""), "kernel.json is not a record of a kernel"),
    "record is a list": (lambda entry: (entry / RECORD).write_text("[]"), "kernel.json is not a record of a kernel"),
    "hash is missing in the record": (
        lambda entry: (entry / RECORD).write_bytes(signed_json.encode({"seconds": 1})),
        "kernel.json is not a record of a kernel: 'sha256'",
    ),
    "record has no digest": (
        lambda entry: (entry / RECORD).write_text('{"seconds": 1}'),
        "kernel.json has the format of kregistry 0.1.0, without a digest",
    ),
    "record is changed": (
        lambda entry: (entry / RECORD).write_text((entry / RECORD).read_text().replace("nvcc", "nvc+")),
        "its content was changed after it was written",
    ),
    "record of another kernel": (edit_record(key="a" * 64), "it is the entry of another kernel, a{64}"),
    "seconds are a text": (edit_record(seconds="long"), "kernel.json is not a record of a kernel"),
    "record is no text": (lambda entry: (entry / RECORD).write_bytes(b"\xff"), "kernel.json is not a record"),
    "cubin is a directory": (
        lambda entry: ((entry / CUBIN).unlink(), (entry / CUBIN).mkdir()),
        "Is a directory",
    ),
    "entry is a file": (lambda entry: (shutil.rmtree(entry), entry.touch()), "Not a directory"),
}


@pytest.mark.parametrize(("damage", "text"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_entry_is_named_discarded_and_made_anew(
    store: Store, kernel: Kernel, cubin: bytes, damage: Callable[[Path], object], text: str
) -> None:
    store.put(kernel, cubin, "nvcc", 1.0)
    damage(store.entry(kernel.key))
    with pytest.raises(DamagedEntry, match=text):
        store.get(kernel.key)
    store.discard(kernel.key)
    assert store.get(kernel.key) is None
    store.put(kernel, cubin, "nvcc", 1.0)
    assert store.get(kernel.key) is not None


def test_another_kernels_folder_over_an_entry_is_found(store: Store, kernel: Kernel, cubin: bytes) -> None:
    """Field fault: the folder was whole, so nothing was wrong with it but its place."""
    other = evolve(kernel, key="f" * 64)
    for each in (kernel, other):
        store.put(each, cubin, "nvcc", 1.0)
    shutil.rmtree(store.entry(kernel.key))
    shutil.copytree(store.entry(other.key), store.entry(kernel.key))
    with pytest.raises(DamagedEntry, match=r"another kernel, f{64}"):
        store.get(kernel.key)


def test_no_changed_bit_of_a_record_is_believed(store: Store, kernel: Kernel, cubin: bytes) -> None:
    """Of each byte one bit. What is read all the same is what was written: the bit was in the space between values."""
    wanted = store.put(kernel, cubin, "nvcc", 1.0)
    path = store.entry(kernel.key) / RECORD
    raw = path.read_bytes()
    for place in range(len(raw)):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1 << place % 8]) + raw[place + 1 :])
        try:
            assert store.get(kernel.key) == wanted
        except DamagedEntry:
            continue


def test_discarding_what_is_not_there(store: Store) -> None:
    store.discard("0" * 64)


@pytest.mark.parametrize("broken", ["fsync", "open"])
def test_a_full_disk_is_reported_and_leaves_nothing(
    store: Store, kernel: Kernel, cubin: bytes, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    if broken == "fsync":
        monkeypatch.setattr(os, "fsync", full_disk)
    else:
        monkeypatch.setattr(Path, "open", full_disk)
    with pytest.raises(StorageError) as caught:
        store.put(kernel, cubin, "nvcc", 1.0)
    monkeypatch.undo()
    assert caught.value.text == FULL
    assert caught.value.path == str(store.directory)
    assert caught.value.hint == FULL_HINT
    assert caught.value.exit_code == 4
    assert list((store.directory / "tmp").iterdir()) == []
    assert store.get(kernel.key) is None


def test_a_store_below_a_file_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as caught:
        Store(tmp_path / "file" / "store").open()
    assert caught.value.message == f"{tmp_path}/file/store/kernels: Not a directory"


def test_opening_drops_what_dead_processes_left(store: Store) -> None:
    old, new = store.scratch("entry"), store.scratch("entry")
    for path in (old, new):
        path.mkdir()
    long_ago = time.time() - 2 * 3600
    os.utime(old, (long_ago, long_ago))
    store.open()
    assert list((store.directory / "tmp").iterdir()) == [new]


def test_a_cubin_with_two_kernels_is_not_stored(store: Store, kernel: Kernel) -> None:
    with pytest.raises(ValueError, match="not an ELF file"):
        store.put(kernel, b"junk", "nvcc", 1.0)
    assert store.get(kernel.key) is None


def test_entries_of_different_keys_do_not_meet(store: Store, kernel: Kernel, cubin: bytes) -> None:
    other = evolve(kernel, key=kernel.key[:2] + "f" * 62)
    store.put(kernel, cubin, "nvcc", 1.0)
    assert store.get(other.key) is None
    store.put(other, cubin, "nvcc", 1.0)
    store.discard(kernel.key)
    assert store.get(other.key) is not None
