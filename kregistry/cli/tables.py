"""Tables on standard output, and byte counts in readable units.

On a terminal a table never breaks a name: columns that may wrap do so between words, and if that is not enough, each
row becomes a few lines. In a pipe a table is plain: one line for each row, no boxes, no padding at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import click
from attrs import frozen
from rich.cells import cell_len

from kregistry.cli.output import data_stream, echo, escape_controls
from kregistry.kernel_type.display import human_bytes as human_bytes

_GAP = "  "
_INDENT = "    "


@frozen
class _Column:
    """A column: its name, and whether it is aligned right (``>``), or may wrap between words (``~``)."""

    name: str
    right: bool
    wraps: bool

    @classmethod
    def parse(cls, text: str) -> _Column:
        return cls(text.lstrip(">~"), text.startswith(">"), text.startswith("~"))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print a table on standard output.

    Args:
        columns: their names; ``>name`` is aligned right, ``~name`` may be wrapped between words.
        rows: the cells.
        title: a line above.
    """
    parsed = [_Column.parse(column) for column in columns]
    cells = [[escape_controls(" ".join(str(cell).split())) for cell in row] for row in rows]
    width = terminal_width()
    if title:
        echo(mark=click.style(title, bold=True) if width else title)
    for line in _lines(parsed, cells, width):
        echo(mark=line)  # its cells are escaped, and its styles are ours


def terminal_width() -> int | None:
    """Columns of the terminal that standard output goes to; ``None`` for a pipe or a file."""
    stream = data_stream()
    if not stream.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _lines(columns: Sequence[_Column], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    names = [column.name for column in columns]
    widths = [max(map(cell_len, each)) for each in zip(names, *rows)]
    if width is None:
        return [_row(columns, widths, row) for row in (names, *rows)]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    words = [[cell_len(word) for row in (names, *rows) for word in row[index].split()] for index in range(len(columns))]
    least = [max([12, *found]) for found in words]
    while excess > 0:  # the widest column that may wrap gives up one character after the other
        wide = [index for index, column in enumerate(columns) if column.wraps and widths[index] > least[index]]
        if not wide:
            break
        widths[max(wide, key=lambda index: widths[index])] -= 1
        excess -= 1
    if excess > 0:
        return [line for row in rows for line in _record(columns, row, width)]
    lines = [click.style(_row(columns, widths, names), bold=True), "─" * min(width, sum(widths) + 2 * len(widths) - 2)]
    for row in rows:
        wrapped = [_wrap(cell, limit) for cell, limit in zip(row, widths)]
        for number in range(max(map(len, wrapped))):
            lines.append(_row(columns, widths, [part[number] if number < len(part) else "" for part in wrapped]))
    return lines


def _row(columns: Sequence[_Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    parts = []
    for column, width, cell in zip(columns, widths, cells):
        padding = " " * (width - cell_len(cell))
        parts.append(padding + cell if column.right else cell + padding)
    return _GAP.join(parts).rstrip()


def _record(columns: Sequence[_Column], row: Sequence[str], width: int) -> list[str]:
    """A row that does not fit: its first cell, and below it the others with their names."""
    rest = width - len(_INDENT)
    lines, line = [click.style(row[0], bold=True)], ""
    for column, cell in zip(columns[1:], row[1:]):
        if not cell:
            continue
        part = f"{column.name} {cell}"
        if line and cell_len(line) + len(_GAP) + cell_len(part) > rest:
            lines += [_INDENT + each for each in _wrap(line, rest)]
            line = part
        else:
            line = f"{line}{_GAP}{part}" if line else part
    return lines + [_INDENT + each for each in _wrap(line, rest)] if line else lines


def _wrap(text: str, width: int) -> list[str]:
    """Lines of a text, broken between words only: a word that is longer than a line stays whole."""
    if cell_len(text) <= width:
        return [text]
    lines: list[str] = []
    for word in text.split():
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
