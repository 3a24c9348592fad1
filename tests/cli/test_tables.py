"""Tables and readable numbers."""

from __future__ import annotations

import pytest

from kregistry.cli.tables import human_bytes, print_table


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 30, "3.0 GiB"),
        (7 << 40, "7.0 TiB"),
        (7000 << 40, "7000.0 TiB"),
    ],
)
def test_human_bytes(count: int, text: str) -> None:
    assert human_bytes(count) == text


def test_a_table_is_plain_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", ">count"), [("a" * 90, 1), ("[bold] :cat: [/", 20)])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    assert lines[0].split() == ["name", "count"]
    assert lines[2].split() == ["a" * 90, "1"]
    assert lines[3].split() == ["[bold]", ":cat:", "[/", "20"]
