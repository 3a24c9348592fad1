"""The folder of a start: what its processes tell each other."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from kregistry.integrations.start_folder import VARIABLE, Request, StartFolder, Status, places
from kregistry.integrations.waiting_calls import WaitingCall, ask
from kregistry.store import Store, atomic
from kregistry.target import get_target


def test_what_is_written_is_read(tmp_path: Path) -> None:
    start = StartFolder.create(Store(tmp_path / "store"))
    assert start.read_request() is None and start.read_status() is None and start.read_pid() == 0
    request = Request("sglang", "m", {"a": [1]}, {"tp": 2}, 16384, ("fp8_gemm_nt",), automatic=False)
    start.write_request(request)
    status = Status("done", 7, 3, 2, 1.5, "", ("one entry",), "plan.json", {"versions": {"torch": "2"}})
    start.write_status(status)
    start.write_manifest("version: 1\n", get_target("h100"))
    assert start.read_request() == request and start.read_status() == status
    assert start.read_target() == get_target("h100") and repr(start.read_target()) == repr(get_target("h100"))
    assert not start.is_ready()
    start.mark_ready()
    assert start.is_ready()


def test_an_engine_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of a start means nothing after a failure of the machine."""
    start = StartFolder.create(Store(tmp_path / "store"))

    def fsync(descriptor: int) -> None:
        raise AssertionError("flushed to disk")

    monkeypatch.setattr(os, "fsync", fsync)
    start.write_request(Request("sglang", "m"))
    start.write_status(Status("starting", 7))
    start.write_manifest("version: 1\n", get_target("h100"))
    ask(start, WaitingCall("fp8_gemm_nt", {"n": 512}, 3))
    assert start.read_status() == Status("starting", 7)


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


def test_ranks_share_the_folder_of_a_further_build(tmp_path: Path) -> None:
    start = StartFolder.create(Store(tmp_path))
    start.write_request(Request("sglang", "m"))
    first, made = start.following()
    assert made and start.following() == (first, False)
    second, made = first.following()
    assert made and start.all_builds() == [start, first, second]
    for each in (first, second):
        assert each.read_request() == Request("sglang", "m")
        assert each.read_status() == Status("starting", os.getpid())
    assert len(list(start.directory.parent.iterdir())) == 3  # the folder of the rank that came second is gone
    nothing = StartFolder(tmp_path / "no" / "folder")
    with pytest.raises(OSError, match="folder"):
        nothing.following()


def test_further_builds_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    builds = [StartFolder.create(Store(tmp_path))]
    for number in range(1, 12):
        following, made = builds[-1].following()
        assert made and following.directory.name.endswith(f".further-{number}")
        builds.append(following)
    (builds[0].directory.parent / f"{builds[0].directory.name}.further-old").mkdir()
    assert builds[0].all_builds() == builds


def test_folders_of_starts_that_may_go_on_stay(tmp_path: Path) -> None:
    """Of other servers that use the store, and of other ranks."""
    store = Store(tmp_path)
    made = [StartFolder.create(store) for _ in range(20)]
    for start in made:
        start.write_status(Status("planning", 1))


def test_the_folder_of_one_parent_has_a_status_from_the_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or another rank would take it for one that is gone, while the first rank still writes."""
    store, real = Store(tmp_path), atomic.replace_file
    seen: list[Any] = []

    def replace_file(path: Path, content: bytes, *, durable: bool = True) -> None:
        real(path, content)
        if not seen:
            seen.append(True)
            seen.append(StartFolder.shared(store, "engine"))

    monkeypatch.setattr(atomic, "replace_file", replace_file)
    start, made = StartFolder.shared(store, "engine")
    faster, made_faster = seen[1]
    assert (made, made_faster, start) == (False, True, faster)
    assert start.read_status() == Status("starting", os.getpid())
    assert list((tmp_path / "starts").iterdir()) == [start.directory]


def test_a_process_finds_the_folder_of_its_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert StartFolder.of_environment() == StartFolder(tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    assert StartFolder.of_environment() is None
    monkeypatch.delenv(VARIABLE)
    assert StartFolder.of_environment() is None
