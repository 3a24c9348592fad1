"""Digests that are remembered until something that decides them changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kregistry.deep_gemm import included_headers
from kregistry.deep_gemm.included_headers import remembered_toolkit_headers, toolkit_headers
from kregistry.deep_gemm.remembered import remembered

OLD = 1_000_000_000


class Count:
    """A computation that counts its runs."""

    def __init__(self, *paths: Path) -> None:
        self.paths = paths
        self.runs = 0

    def __call__(self) -> tuple[str, list[str]]:
        self.runs += 1
        return f"digest {self.runs}", [str(path) for path in self.paths]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def old(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    os.utime(path, ns=(OLD, OLD))
    return path


def test_what_has_not_changed_is_not_computed_again(home: Path) -> None:
    compute = Count(old(home / "a"), home / "none")
    assert [remembered("ab", compute) for _ in range(3)] == ["digest 1"] * 3
    assert remembered("cd", compute) == "digest 2"


def test_every_change_counts(home: Path) -> None:
    file, missing = old(home / "a"), home / "none"
    compute = Count(file, missing)
    assert remembered("ab", compute) == "digest 1"
    os.utime(file, ns=(OLD, OLD + 1))
    assert remembered("ab", compute) == "digest 2"
    old(missing)
    assert remembered("ab", compute) == "digest 3"
    missing.unlink()
    assert remembered("ab", compute) == "digest 4"


def test_a_file_that_is_replaced_by_one_of_the_same_size_and_time_counts(home: Path) -> None:
    """As archives and ``cp -p`` do it."""
    file = old(home / "a")
    compute = Count(file)
    assert remembered("ab", compute) == "digest 1"
    file.write_text("y")
    os.utime(file, ns=(OLD, OLD))
    assert remembered("ab", compute) == "digest 2"


def test_what_has_just_changed_is_not_remembered(home: Path) -> None:
    """It could change again without a new time."""
    (home / "a").write_text("x")
    compute = Count(home / "a")
    assert [remembered("ab", compute) for _ in range(2)] == ["digest 1", "digest 2"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"digest": "x"}', '{"digest": "x", "paths": {"a": 3}}', "\0"])
def test_a_damaged_memory_is_replaced(home: Path, content: str) -> None:
    compute = Count(old(home / "a"))
    assert remembered("ab", compute) == "digest 1"
    (place,) = (home / "cache").rglob("ab.json")
    place.write_text(content)
    assert [remembered("ab", compute) for _ in range(2)] == ["digest 2"] * 2


def test_a_directory_that_cannot_be_written_only_costs_time(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file"))
    compute = Count(old(home / "a"))
    assert [remembered("ab", compute) for _ in range(2)] == ["digest 1", "digest 2"]


def test_a_header_that_would_be_found_first_is_noticed(home: Path) -> None:
    """The directory did not even exist when the digest was computed."""
    old(home / "toolkit" / "cuda_runtime.h")
    old(home / "toolkit" / "cuda" / "std" / "x.h")
    (home / "first").mkdir()
    for path in (home, *home.rglob("*")):
        os.utime(path, ns=(OLD, OLD))
    source = b"#include <cuda/std/x.h>\n"
    where = (home / "first",), (home / "first", home / "toolkit")
    before = remembered_toolkit_headers(source, *where)
    assert before == toolkit_headers(source, *where) == remembered_toolkit_headers(source, *where)
    (home / "first" / "cuda" / "std").mkdir(parents=True)
    (home / "first" / "cuda" / "std" / "x.h").write_text("other")
    for each in (included_headers._find, included_headers._files, included_headers._remembered):
        each.cache_clear()  # as in a new process
    assert remembered_toolkit_headers(source, *where) != before


def test_a_changed_digest_is_computed_again(home: Path) -> None:
    """Nothing else would find it: the times of all files still fit."""
    compute = Count(old(home / "a"))
    assert remembered("ab", compute) == "digest 1"
    (place,) = (home / "cache").rglob("ab.json")
    place.write_text(place.read_text().replace("digest 1", "digest 9"))
    assert [remembered("ab", compute) for _ in range(2)] == ["digest 2"] * 2


def test_a_named_pipe_in_its_place_is_replaced(home: Path) -> None:
    compute = Count(old(home / "a"))
    assert remembered("ab", compute) == "digest 1"
    (place,) = (home / "cache").rglob("ab.json")
    place.unlink()
    os.mkfifo(place)
    assert [remembered("ab", compute) for _ in range(2)] == ["digest 2"] * 2
    assert [each.name for each in place.parent.iterdir()] == ["ab.json"]
