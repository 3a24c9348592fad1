"""Contiguous layouts: the rows of all groups in one buffer, each group's rows aligned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kregistry import Shape

if TYPE_CHECKING:
    import torch


def blocks(shape: Shape, m: int) -> Iterator[tuple[slice, int]]:
    """Each aligned block of rows, and the group that owns it: ascending, spread over all groups."""
    size = shape.mk_alignment
    count = -(-m // size)
    for i in range(count):
        yield slice(i * size, min(m, (i + 1) * size)), i * shape.num_groups // count


def fill_groups(grouped_layout: torch.Tensor, shape: Shape, m: int) -> None:
    """Write the group of each of the first ``m`` rows into ``grouped_layout`` [rows]."""
    for rows, group in blocks(shape, m):
        grouped_layout[rows] = group
