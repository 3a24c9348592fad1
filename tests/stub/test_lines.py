"""Lines of another process: in whatever pieces they come, and when none comes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from kregistry.stub.lines import Lines

LIMIT = 60.0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    os.close(read)


def test_lines_in_pieces(pipe: tuple[int, int]) -> None:
    read, write = pipe
    lines = Lines(read)
    os.write(write, b"one\ntwo\nthr")
    assert [lines.next(LIMIT), lines.next(LIMIT)] == ["one\n", "two\n"]
    os.write(write, "ée\n\nrest".encode())
    os.close(write)
    assert [lines.next(LIMIT) for _ in range(4)] == ["thrée\n", "\n", "rest", ""]


def test_a_silence(pipe: tuple[int, int]) -> None:
    """What has come before it is still there when the rest comes."""
    read, write = pipe
    lines = Lines(read)
    os.write(write, b"half")
    with pytest.raises(TimeoutError):
        lines.next(0.01)
    os.write(write, b" a line\n")
    assert lines.next(LIMIT) == "half a line\n"
    os.close(write)
