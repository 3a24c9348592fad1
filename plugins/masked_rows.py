"""Masked layouts: each group has a buffer of its own, filled in part."""

from __future__ import annotations

#: Rows of each group's buffer must be a multiple of the tile height: the kernel stores whole tiles, and the last tile
#: of a group would run into the rows of the next (seen on an H100: wrong results with 1, 65 and 300 rows).
ROW_ALIGNMENT = 128


def rows_of_a_group(max_m: int) -> int:
    """Rows to allocate for each group, whole tiles."""
    return -(-max_m // ROW_ALIGNMENT) * ROW_ALIGNMENT
