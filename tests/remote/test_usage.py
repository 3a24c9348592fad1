"""Counts beside the store: none is lost where many processes end at once, and damaged files cost only themselves."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kregistry.remote.tier_use import TierUse
from kregistry.remote.usage import Usage, forget_usage, note_usage, read_usage

USE = TierUse("s3://team/k", hits=2, misses=1, written=1, errors=1, bytes_read=20, bytes_written=10, seconds=0.5)


def test_counts_add_up(tmp_path: Path) -> None:
    note_usage(tmp_path, [USE, TierUse("s3://never/asked")], found=3, missed=4, compile_seconds=[1.5])
    note_usage(tmp_path, [USE], found=1)
    total = read_usage(tmp_path)
    assert (total.commands, total.found, total.missed, total.compiled, total.compile_seconds) == (2, 4, 4, 1, 1.5)
    assert list(total.tiers) == ["s3://team/k"]
    use = total.tiers["s3://team/k"]
    assert (use.hits, use.misses, use.errors, use.bytes_read, use.seconds) == (4, 2, 2, 40, 1.0)
    assert Usage.from_json(total.to_json()).to_json() == total.to_json()


def test_a_command_that_asked_nothing_leaves_nothing(tmp_path: Path) -> None:
    note_usage(tmp_path, [TierUse("s3://never/asked")])
    assert list(tmp_path.iterdir()) == [] and read_usage(tmp_path).commands == 0


def test_many_at_once_lose_no_count_and_leave_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kregistry.remote.usage._MOST_FILES", 10)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: note_usage(tmp_path, [USE], found=1), range(60)))
    total = read_usage(tmp_path)
    assert (total.commands, total.found, total.tiers["s3://team/k"].hits) == (60, 60, 120)
    assert len(list((tmp_path / "usage").iterdir())) <= 20


NEGATIVE = json.dumps(Usage(1, 1.0, tiers={"s3://b": TierUse("s3://b", hits=-1)}).to_json()).encode()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"commands": "x"}', b'{"remotes": {"a": 3}}', b"\xff", NEGATIVE]
)
def test_what_is_no_count_is_left_out(tmp_path: Path, content: bytes) -> None:
    note_usage(tmp_path, [USE])
    (tmp_path / "usage" / "odd.json").write_bytes(content)
    assert read_usage(tmp_path).commands == 1


def test_a_store_that_cannot_be_written_loses_the_count_only(tmp_path: Path) -> None:
    (tmp_path / "usage").write_text("a file")
    note_usage(tmp_path, [USE])
    assert read_usage(tmp_path).commands == 0


def test_counting_begins_anew(tmp_path: Path) -> None:
    note_usage(tmp_path, [USE])
    forget_usage(tmp_path)
    forget_usage(tmp_path)
    assert read_usage(tmp_path).commands == 0
