"""Tables and readable numbers."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.cells import cell_len

from kregistry.cli import tables
from kregistry.cli.tables import human_bytes, print_table

NAME = "m_grouped_fp8_gemm_nt_contiguous"
COLUMNS = ("entry", "kernel type", "~shape", ">kernels")
ROWS = [("experts, prefill", NAME, "num_groups=32 n=4096 k=7168 scales=f32", 12), ("q", "fp8_gemm_nt", "n=1 k=2", 3)]


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
    """A line for each row, with neither boxes nor padding at its end."""
    print_table(("name", ">count", "text"), [("a" * 90, 1, "x"), ("[bold] :cat: [/", 20, "longer")])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    lines = out.splitlines()
    assert [line.split() for line in lines] == [
        ["name", "count", "text"],
        ["a" * 90, "1", "x"],
        ["[bold]", ":cat:", "[/", "20", "longer"],
    ]
    assert all(line == line.rstrip() for line in lines)
    assert lines[1].index("1") == lines[2].index("20") + 1


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], str]:
    """Prints the table on a terminal of a width."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def show(width: int) -> str:
        stream = Terminal()
        monkeypatch.setattr(tables, "data_stream", lambda: stream)
        monkeypatch.setattr(tables, "echo", lambda text="", mark="": stream.write(mark + text + "\n"))
        monkeypatch.setenv("COLUMNS", str(width))
        print_table(COLUMNS, ROWS, "model")
        return stream.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "")

    return show


@pytest.mark.parametrize("width", [40, 60, 80, 90, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_no_name_is_broken(
    on_terminal: Callable[[int], str], width: int
) -> None:
    text = on_terminal(width)
    assert max(map(cell_len, text.splitlines())) <= width
    for name in (NAME, "fp8_gemm_nt", "num_groups=32", "scales=f32"):
        assert name in text


def test_at_200_columns_a_row_is_a_line(on_terminal: Callable[[int], str]) -> None:
    title, header, rule, *rows = on_terminal(200).splitlines()
    assert (title, header.split(), set(rule)) == ("model", ["entry", "kernel", "type", "shape", "kernels"], {"─"})
    assert [row.split()[-1] for row in rows] == ["12", "3"]


def test_what_may_wrap_wraps_between_words(on_terminal: Callable[[int], str]) -> None:
    rows = on_terminal(84).splitlines()[3:]
    assert [row.split() for row in rows] == [
        ["experts,", "prefill", NAME, "num_groups=32", "n=4096", "12"],
        ["k=7168", "scales=f32"],
        ["q", "fp8_gemm_nt", "n=1", "k=2", "3"],
    ]


def test_what_does_not_fit_becomes_some_lines(on_terminal: Callable[[int], str]) -> None:
    assert on_terminal(60).splitlines() == [
        "model",
        "experts, prefill",
        f"    kernel type {NAME}",
        "    shape num_groups=32 n=4096 k=7168 scales=f32  kernels 12",
        "q",
        "    kernel type fp8_gemm_nt  shape n=1 k=2  kernels 3",
    ]
