"""Tables on standard output, and byte counts in readable units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from kregistry.cli.output import data_stream, escape_controls


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print a table on standard output. Columns whose name begins with ``>`` are aligned right. Plain when piped."""
    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape_controls(str(cell)) for cell in row))
    console = Console(file=data_stream())
    # A pipe has no width: cells are not folded there.
    width = None if console.is_terminal else 200
    # [brackets] and :colons: in a label or path are neither markup nor emoji.
    Console(file=data_stream(), width=width, highlight=False, markup=False, emoji=False).print(table)


def human_bytes(count: int) -> str:
    """``1536`` -> ``1.5 KiB``."""
    value, units = float(count), ("B", "KiB", "MiB", "GiB", "TiB")
    for unit in units:
        if value < 1024 or unit == units[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError
