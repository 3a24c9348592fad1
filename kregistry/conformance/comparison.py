"""Comparison of results with a reference: as a whole, and by row, column and tile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    import torch

#: Rows and columns of a tile.
_TILE = 64
#: A part may differ this many times as much as the whole: few elements differ more from each other than many.
PART_FACTOR = 20.0
#: From a tolerance for rounding on, a part may differ as much as one FP8 number that was rounded the other way.
_ROUNDED, _ONE_FP8_STEP = 1e-4, 0.02
#: Share by which all results together may be too large or too small, or twice the tolerance if that is more; and the
#: standard deviations of what noise makes of it. The measure of the whole takes 4 % for a difference of 8e-4.
_SHARE, _DEVIATIONS = 0.005, 6.0
#: A tolerance above this one accepts 5 % of noise: it is for launches that round between two steps.
_ROUNDED_BETWEEN = 0.05**2 / 2


@frozen
class Disagreement:
    """What differs by more than the tolerance: ``difference`` in ``part`` (e.g. ``"row 3"``; empty: the whole)."""

    difference: float
    part: str
    limit: float

    def __str__(self) -> str:
        return f"a difference of {self.difference:.3g}" + (f" in {self.part}" if self.part else "")


def difference(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """``1 - 2 <x, y> / (<x, x> + <y, y>)`` in float64; NaN if either holds one. Two empty or zero tensors: 0."""
    x, y = got.double().flatten(), wanted.double().flatten()
    scale = float(x.dot(x) + y.dot(y))
    return 1.0 - 2.0 * float(x.dot(y)) / scale if scale != 0 else 0.0


def disagreement(got: torch.Tensor, wanted: torch.Tensor, tolerance: float) -> Disagreement | None:
    """The worst disagreement of two tensors of the same sizes; ``None`` if they agree.

    The whole may differ by the tolerance. Each row, each column and each tile of 64 rows and columns may differ by
    20 times as much (from a tolerance of 1e-4 on, by at least 0.02), measured as ``|x - y|^2 / (|x|^2 + |y|^2 + e)``.
    ``e`` is what an average part of that size has, so that a part that is almost zero is not judged by its rounding.
    All results together may be 0.5 % too large or too small, and as much more as their noise explains. With a tolerance
    that accepts 5 % of noise the elements of a row share their noise: all are made of the same few rounded numbers.
    """
    whole = difference(got, wanted)
    if not whole <= tolerance:
        return Disagreement(whole, "", tolerance)
    limit = max(PART_FACTOR * tolerance, _ONE_FP8_STEP if tolerance >= _ROUNDED else 0.0)
    for kind, values in _parts(got, wanted):
        worst = int(values.argmax())
        if float(values.flatten()[worst]) > limit:
            return Disagreement(float(values.flatten()[worst]), _name(kind, worst, values), limit)
    share, most = _share(got, wanted, tolerance)
    if share > most:
        return Disagreement(share, "the size of all results together", most)
    return None


def _share(got: torch.Tensor, wanted: torch.Tensor, tolerance: float) -> tuple[float, float]:
    """By which share the results are too large or too small, and how much it may be."""
    x, y = got.double().flatten(), wanted.double().flatten()
    energy = float(y.dot(y))
    if energy == 0 or tolerance < _ROUNDED:  # a small tolerance leaves no room for it
        return 0.0, 0.0
    ratio = float(x.dot(y)) / energy
    noise = float((x - ratio * y).norm()) / energy**0.5
    independent = _matrices(got)[..., 0].numel() if tolerance > _ROUNDED_BETWEEN else x.numel()
    return abs(ratio - 1), max(_SHARE, 2 * tolerance) + _DEVIATIONS * noise / independent**0.5


def _parts(got: torch.Tensor, wanted: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Each kind of part with the differences of all its parts, in their order."""
    x, y = _matrices(got), _matrices(wanted)
    if x.numel() == 0:
        return
    error, energy = (x - y).square(), x.square() + y.square()
    average = energy.mean()
    for kind, dims in (("row", (2,)), ("column", (1,))):
        yield kind, _ratio(error.sum(dims), energy.sum(dims), average * x.shape[dims[0]])
    tiles, energies = _tiles(error), _tiles(energy)
    yield "tile", _ratio(tiles, energies, average * _TILE * _TILE)


def _ratio(error: torch.Tensor, energy: torch.Tensor, average: torch.Tensor) -> torch.Tensor:
    return (error / (energy + average)).nan_to_num(0.0)


def _tiles(values: torch.Tensor) -> torch.Tensor:
    import torch

    _, rows, columns = values.shape
    return torch.nn.functional.avg_pool2d(
        torch.nn.functional.pad(values, (0, -columns % _TILE, 0, -rows % _TILE)), _TILE, divisor_override=1
    )


def _matrices(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor as [matrices, rows, columns] in float64."""
    values = tensor.double()
    while values.dim() < 2:
        values = values.unsqueeze(-1)
    return values.reshape(-1, *values.shape[-2:]) if values.numel() else values.reshape(0, 1, 1)


def _name(kind: str, index: int, values: torch.Tensor) -> str:
    if kind == "tile":
        _, rows, columns = values.shape
        matrix, row, column = index // (rows * columns), index // columns % rows, index % columns
        return f"the tile at row {row * _TILE}, column {column * _TILE}" + _of(matrix, values)
    matrix, part = divmod(index, values.shape[1])
    return f"{kind} {part}" + _of(matrix, values)


def _of(matrix: int, values: torch.Tensor) -> str:
    return f" of matrix {matrix}" if values.shape[0] > 1 else ""
