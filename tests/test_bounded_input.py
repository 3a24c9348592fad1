"""Limits of what is read: size, depth, numbers, and lines of any length."""

from __future__ import annotations

from pathlib import Path

import pytest

from kregistry import bounded_input
from kregistry.bounded_input import lines_of, parse_json, read_bounded, read_input, read_input_text
from kregistry.errors import InputError


def test_a_file_at_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 100)
    assert read_bounded(path, 100) == b"x" * 100
    with pytest.raises(ValueError, match="larger than"):
        read_bounded(path, 99)
    with pytest.raises(InputError, match="larger than"):
        read_input(path, 99)


def test_text(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"\xef\xbb\xbfa")
    assert read_input_text(path) == "a"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 65 + "]" * 65, "levels deep"),
        ("[" * 100_000, "levels deep"),
        ("9223372036854775808", "beyond 64 bits"),
        ("9" * 100_000, "beyond 64 bits"),
        ("1e999", "beyond the range of doubles"),
        ("1" * 1000 + ".5", "beyond the range of doubles"),
        ("NaN", "NaN is not JSON"),
        ("[1, Infinity]", "Infinity is not JSON"),
        ("{", "Expecting"),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_json(text)


def test_what_is_read() -> None:
    assert parse_json('{"a": [9223372036854775807, -1.5e3, null]}') == {"a": [(1 << 63) - 1, -1500.0, None]}
    assert parse_json("[" * 63 + "]" * 63)


def test_long_lines_are_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_input, "MAX_LINE_BYTES", 8)
    path = tmp_path / "lines"
    path.write_bytes(b"one\n" + b"x" * 50 + b"\n1234567\nlast")
    assert list(lines_of(path)) == [(1, b"one\n"), (2, None), (3, b"1234567\n"), (4, b"last")]
    monkeypatch.setattr(bounded_input, "MAX_LINES_BYTES", 20)
    with pytest.raises(ValueError, match="larger than"):
        list(lines_of(path))
