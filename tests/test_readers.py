"""Readers of files that are not ours: whatever a file holds or is, it is read, or refused in one message.

``benchmarks/faults.py readers`` does the same with more variants, and under a limit of memory.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mutations import mutations
from readers import READERS, Reader, fault
from readers_of_results import RESULTS

from kregistry.errors import InputError
from kregistry.manifest import document

SEED = 19
COUNT = 120


EVERY = {**READERS, **RESULTS}
#: Readers of words, whose file is only how the test hands them over.
WORDS = ("words of show", "remotes", "shard", "object")


@pytest.fixture(params=EVERY.values(), ids=EVERY.keys())
def reader(request: pytest.FixtureRequest) -> Reader:
    found: Reader = request.param
    return found


def at(directory: Path, reader: Reader) -> Path:
    path = directory / reader.name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_the_valid_file_is_read(reader: Reader, tmp_path: Path) -> None:
    path = at(tmp_path, reader)
    path.write_bytes(reader.valid)
    reader.read(path)


def test_no_variant_gives_a_traceback(reader: Reader, tmp_path: Path) -> None:
    path = at(tmp_path, reader)
    faults = {}
    for number, content in enumerate(mutations(reader.valid, COUNT, SEED)):
        path.write_bytes(content)
        if found := fault(reader, path):
            faults[number] = found
    assert not faults, f"seed {SEED}: {faults}"


HOSTILE = {
    "empty": b"",
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"a":' * 100_000,
    "binary": b"\xff\xfe\x00\x01" * 100,
    "digits": b"9" * 100_000,
    "one long text": b'"' + b"x" * 1_000_000,
    "many values": b"[" + b"1," * 700_000 + b"1]",
    "many lists": b"[" + b"[]," * 400_000 + b"[]]",
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_content_is_refused(
    reader: Reader, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "MAX_VALUES", 2000)  # the real limit takes seconds to reach
    path = at(tmp_path, reader)
    path.write_bytes(content)
    assert fault(reader, path) == ""


@pytest.mark.parametrize("reader", RESULTS.values(), ids=RESULTS.keys())
def test_hostile_content_of_results_is_refused(reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MAX_VALUES", 2000)
    path = at(tmp_path, reader)
    for content in (*HOSTILE.values(), HOSTILE["many lists"][:50_000] + b"]"):
        if len(content) <= 600_000:
            path.write_bytes(content)
            assert fault(reader, path) == ""


def test_what_is_no_file_is_refused(reader: Reader, tmp_path: Path) -> None:
    path = at(tmp_path, reader)
    if reader in (EVERY[name] for name in WORDS):
        return
    for make in (lambda: path.mkdir(), lambda: os.mkfifo(path), lambda: path.symlink_to("/dev/zero")):
        make()
        assert fault(reader, path) == ""
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()


@pytest.mark.parametrize("name", ["manifest", "target", "lock", "plan", "config", "monitor log"])
def test_a_named_file_that_is_missing_or_binary_is_wrong_input(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    path = tmp_path / reader.name
    with pytest.raises(InputError, match="No such file"):
        reader.read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError):
        reader.read(path)
