"""The largest serial that was accepted stays, whoever accepts at the same time and whatever a file has become."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kregistry.errors import StorageError
from kregistry.trust.serials import Serials

WHAT = ("s3://team/k", "kernel")


def test_the_largest_is_remembered_for_each_thing(tmp_path: Path) -> None:
    serials = Serials(tmp_path)
    assert serials.last(*WHAT) == -1
    for serial in (5, 3, 70, 9):
        serials.remember(*WHAT, serial)
    assert serials.last(*WHAT) == 70
    assert serials.last("", WHAT[1]) == -1
    serials.remember("", WHAT[1], 1)
    assert (serials.last("", WHAT[1]), serials.last(*WHAT)) == (1, 70)


def test_a_process_that_has_looked_before_another_has_written_takes_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, late = Serials(tmp_path), Serials(tmp_path)
    late.remember(*WHAT, 5)
    late.remember(*WHAT, 10)
    with monkeypatch.context() as patch:
        patch.setattr(early, "last", lambda *what: 5)  # what it saw before the other wrote 10
        early.remember(*WHAT, 7)
    assert early.last(*WHAT) == late.last(*WHAT) == 10


def test_many_at_once_leave_the_largest_alone(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda serial: Serials(tmp_path).remember(*WHAT, serial), [*range(30, 60), *range(30)]))
    serials = Serials(tmp_path)
    serials.remember(*WHAT, 60)
    assert serials.last(*WHAT) == 60
    assert [path.name for path in serials.directory.rglob("*") if path.is_file()] == ["60.json"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff"])
def test_a_damaged_file_says_nothing(tmp_path: Path, content: bytes) -> None:
    serials = Serials(tmp_path)
    serials.remember(*WHAT, 5)
    (path,) = serials.directory.rglob("*.json")
    original = path.read_bytes()
    path.write_bytes(content)
    for name in ("9.json", "x.json", "-1.json", f"{'9' * 30}.json", "٣.json"):
        path.with_name(name).write_bytes(original)  # a serial is what the content says, not what a name says
    assert serials.last(*WHAT) == -1
    serials.remember(*WHAT, 6)
    assert serials.last(*WHAT) == 6


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "serials").write_text("in the way")
    serials = Serials(tmp_path)
    assert serials.last(*WHAT) == -1
    with pytest.raises(StorageError):
        serials.remember(*WHAT, 1)
    serials.try_to_remember(*WHAT, 1)
