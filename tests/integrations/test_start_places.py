"""Where the folders of starts are: beside the store or among temporary files, the last few of them."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from kregistry.integrations.start_folder import Request, StartFolder
from kregistry.integrations.start_places import places
from kregistry.store import Store


def test_old_folders_are_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = []
    for number in range(12):
        made.append(StartFolder.create(store).directory)
        os.utime(made[-1], (number, number))
    left = list((tmp_path / "starts").iterdir())
    assert len(left) == 9 and made[-1] in left


def test_folders_from_before_the_clock_was_set_back_are_old(tmp_path: Path) -> None:
    store, later = Store(tmp_path), time.time() + 10 * 365 * 86400
    for _ in range(12):
        os.utime(StartFolder.create(store).directory, (later, later))
    now = StartFolder.create(store)
    assert StartFolder.create(store) and now.directory.exists()
    assert len(list((tmp_path / "starts").iterdir())) == 9


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


@pytest.mark.parametrize("shared", [False, True])
def test_where_the_store_cannot_be_written_the_folder_is_a_temporary_one(
    temporary: Path, tmp_path: Path, shared: bool, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file" / "store")
    if shared:
        start, made = StartFolder.shared(store, "engine")
        assert made and StartFolder.shared(store, "engine") == (start, False)
    else:
        start = StartFolder.create(store)
    start.write_request(Request("sglang", "m"))
    assert start.directory.parent.parent == temporary
    assert start.directory.parent.stat().st_mode & 0o777 == 0o700
    assert "file/store cannot be written" in caplog.text and "KREGISTRY_STORE" in caplog.text
    following, made = start.following()
    assert made and following.directory.parent == start.directory.parent


def test_a_temporary_directory_of_others_is_not_used(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file" / "store")
    *_, place = places(store)
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(OSError, match="others may write there"):
        StartFolder.create(store)
    place.rmdir()
    place.symlink_to(tmp_path)
    with pytest.raises(OSError, match="others may write there"):
        StartFolder.create(store)
