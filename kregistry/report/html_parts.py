"""Tables, lists and bars of a page, as HTML. Texts are escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def html_items(texts: Iterable[str]) -> str:
    """The items of a list."""
    return "".join(f"<li>{escape(text)}</li>" for text in texts)


def html_bar(value: int, most: int) -> str:
    """A bar of 160 px at the largest value, ``most``."""
    return f'<div class="bar" style="width:{160 * value / most if most else 0:.0f}px"></div>'


def html_table(columns: Sequence[str], rows: Iterable[Sequence[str]], code: int = -1, html: int = -1) -> str:
    """A table; ``>`` aligns right, ``code`` is the number of a column of code, ``html`` of one that is HTML already."""
    head = "".join(f'<th{_right(column)} scope="col">{escape(column.lstrip(">"))}</th>' for column in columns)
    body = []
    for row in rows:
        cells = []
        for index, (column, cell) in enumerate(zip(columns, row)):
            shown = cell if index == html else escape(cell)
            cells.append(f"<td{_right(column)}>{f'<code>{shown}</code>' if index == code else shown}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _right(column: str) -> str:
    return ' class="r"' if column.startswith(">") else ""
