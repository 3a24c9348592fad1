"""The folder of a start: what its processes tell each other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kregistry.integrations.start_folder import VARIABLE, Request, StartFolder, Status
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
