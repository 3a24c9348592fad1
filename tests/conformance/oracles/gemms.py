"""GEMMs: dense, grouped by rows (contiguous and masked), and grouped by k."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from .numbers import flipped, real

#: Rows at which the next group begins, in the psum layout.
_ALIGNMENT = 128


def _operands(a: Any, b: Any, recipes: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """The numbers of both operands. The last number of a recipe is how many elements of k share a scale factor."""
    both = recipes.get("recipe") or (128,)
    blocks = [(recipes.get(name) or both)[-1] for name in ("recipe_a", "recipe_b")]
    return real(a, blocks[0]), real(b, blocks[1])


def dense(layout: str) -> Callable[..., None]:
    """d = a @ b.T (+ c); ``t`` first: a is stored as [k, m]; ``n`` second: b is stored as [k, n]."""

    def function(a: Any, b: Any, d: torch.Tensor, c: torch.Tensor | None = None, **others: Any) -> None:
        left, right = _operands(flipped(a) if layout[0] == "t" else a, flipped(b) if layout[1] == "n" else b, others)
        d.copy_(left @ right.T + (0 if c is None else c.double()))

    return function


def skip_head_mid(a: Any, b: Any, d: torch.Tensor, heads: tuple[int, int, int], **_: Any) -> None:
    """Each head of the result is cut in two, with a gap in between that stays as it is."""
    left, middle, right = heads
    product = (real(a) @ real(b).T).view(len(d), -1, left + right)
    parts = d.view(len(d), -1, left + middle + right)
    parts[..., :left] = product[..., :left].to(d.dtype)
    parts[..., left + middle :] = product[..., left:].to(d.dtype)


def contiguous(layout: str) -> Callable[..., None]:
    """Each row of a meets the matrix of its group."""

    def function(
        a: Any, b: Any, d: torch.Tensor, groups: torch.Tensor, use_psum_layout: bool = False, **others: Any
    ) -> None:
        left, right = _operands(a, flipped(b) if layout == "nn" else b, others)
        d.zero_()
        begin = 0
        for group in range(len(right)):
            if use_psum_layout:
                end = int(groups[group])
                rows = torch.arange(begin, end)
                begin = -(-end // _ALIGNMENT) * _ALIGNMENT
            else:
                rows = (groups == group).nonzero().flatten()
            d[rows] = (left[rows] @ right[group].T).to(d.dtype)

    return function


def masked(a: Any, b: Any, d: torch.Tensor, masked_m: torch.Tensor, expected_m: int, **others: Any) -> None:
    left, right = _operands(a, b, others)
    for group, rows in enumerate(masked_m.tolist()):
        d[group, :rows] = (left[group, :rows] @ right[group].T).to(d.dtype)


def k_grouped_tn(
    a: Any, b: Any, d: torch.Tensor, sizes: Sequence[int], layout: torch.Tensor, c: torch.Tensor, **others: Any
) -> None:
    """d[g] = a[rows of g].T @ b[rows of g] + c[g]. Packed scale factors begin anew with each group."""
    block = (others.get("recipe") or (128,))[-1]
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + _scale_rows(size, block, a))

    def part(operand: Any, group: int, k: slice) -> torch.Tensor:
        if isinstance(operand, torch.Tensor):
            return real(operand[k].T)
        return real((operand[0][k].T, operand[1][starts[group] : starts[group + 1]].T), block)

    begin = 0
    for group, size in enumerate(sizes):
        k = slice(begin, begin + size)
        product = part(a, group, k) @ part(b, group, k).T if size else torch.zeros(())
        d[group] = (c[group].double() + product).to(d.dtype)
        begin += size


def _scale_rows(size: int, block: int, operand: Any) -> int:
    """Rows of scale factors that a group of ``size`` rows has."""
    if isinstance(operand, torch.Tensor):
        return 0
    rows = -(-size // block)
    return -(-rows // 4) if operand[1].dtype == torch.int32 else rows


def k_grouped_nt(
    a: tuple[torch.Tensor, torch.Tensor],
    b: tuple[torch.Tensor, torch.Tensor],
    d: torch.Tensor,
    sizes: Sequence[int],
    layout: torch.Tensor,
    c: torch.Tensor,
    **_: Any,
) -> None:
    """As above; the matrices [m, k] of all groups follow each other."""

    def part(operand: tuple[torch.Tensor, torch.Tensor], k: slice, rows: int) -> torch.Tensor:
        data = operand[0][k.start * rows : k.stop * rows].view(rows, -1)
        return real((data, operand[1][:, k.start // 128 : k.stop // 128]))

    _add(d, c, sizes, lambda k: part(a, k, d.shape[1]) @ part(b, k, d.shape[2]).T)


def k_grouped_fp4(
    a: tuple[torch.Tensor, torch.Tensor],
    b: tuple[torch.Tensor, torch.Tensor],
    d: torch.Tensor,
    sizes: Sequence[int],
    layout: torch.Tensor,
    c: torch.Tensor | None = None,
    **_: Any,
) -> None:
    """As above, but each row of an operand is contiguous; scale factors are stored [k / 32, rows]."""
    left, right = (real((data, factors.T), 32) for data, factors in (a, b))
    before = torch.zeros_like(d) if c is None else c.clone()
    _add(d, before, sizes, lambda k: left[:, k] @ right[:, k].T)


def _add(d: torch.Tensor, c: torch.Tensor, sizes: Sequence[int], product: Callable[[slice], torch.Tensor]) -> None:
    begin = 0
    for group, size in enumerate(sizes):
        if size:
            d[group] = (c[group].double() + product(slice(begin, begin + size))).to(d.dtype)
        else:
            d[group] = c[group]
        begin += size
