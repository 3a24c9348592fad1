"""Bytes that DeepGEMM allocates during a launch of an FP8 GEMM, measured on the stub GPU.

* It converts f32 scale factors, and repeats those of weight blocks for every row first.
* SM120 copies dense operands that are not K-major.
* SM120 splits the sum over k of a dense GEMM with few tiles: each part of it has an FP32 output of its own.
"""

from __future__ import annotations

from kregistry import Shape
from kregistry_plugins.fp8_gemm.scales import GROUP, align, ceil_div

#: The largest tile of a kernel of SM120, in rows and columns; smaller tiles mean more of them, and fewer parts.
_TILE = 128
#: The least packed scale factors, four to a word, that a part of the sum has in a row.
_LEAST_WORDS = 2


def conversion_workspace(shape: Shape, rows: int, groups: int = 1, row_groups: int = 1, group: int = GROUP) -> int:
    """To convert f32 scale factors of ``row_groups`` x ``rows`` activations and ``groups`` weights."""
    if shape.get("scales", "f32") != "f32":
        return 0
    if shape.target.arch == "sm90":
        return 4 * row_groups * align(rows, 4) * ceil_div(shape.k, group)
    return _activations(shape, rows, row_groups, group) + _weights(shape, groups, group)


def dense_workspace(
    shape: Shape,
    max_m: int,
    *,
    f32_scales: bool,
    weight_blocks: bool = True,
    group: int = GROUP,
    copied_a: bool = False,
    copied_b: bool = False,
) -> int:
    """Of a dense GEMM: an upper bound for every launch of ``max_m`` rows or fewer.

    Args:
        f32_scales: whether the scale factors are f32.
        weight_blocks: whether those of the weight are of blocks, or of rows as those of the activations.
        group: columns that share a scale factor, of the operand with larger groups.
        copied_a, copied_b: whether the operand is not K-major.
    """
    if shape.target.arch == "sm90":
        rows = align(max_m, 4) + (0 if weight_blocks else align(shape.n, 4))
        return 4 * rows * ceil_div(shape.k, group) if f32_scales else 0
    copies = split = 0
    if shape.target.arch == "sm120":
        copies = shape.k * (max_m * copied_a + shape.n * copied_b)
        split = _split_k(shape, max_m, group)
    if not f32_scales:
        return copies + split
    # What repeats the scale factors of blocks is freed before the kernel starts.
    packed = _packed_weights(shape, 1, group)
    peak = max(_weights(shape, 1, group) if weight_blocks else packed, packed + split)
    return copies + _activations(shape, max_m, 1, group) + peak


def _activations(shape: Shape, rows: int, row_groups: int, group: int) -> int:
    """The packed scale factors of the activations."""
    return 4 * row_groups * align(rows, 4) * ceil_div(shape.k, 4 * group)


def _packed_weights(shape: Shape, groups: int, group: int) -> int:
    return 4 * groups * align(shape.n, 4) * ceil_div(shape.k, 4 * group)


def _weights(shape: Shape, groups: int, group: int) -> int:
    """The most at once: those of blocks repeated for each row, with int64 indices of the rows, later packed."""
    repeated: int = 4 * groups * shape.n * ceil_div(shape.k, group)
    return repeated + max(8 * shape.n, _packed_weights(shape, groups, group))


def _split_k(shape: Shape, max_m: int, group: int) -> int:
    """Outputs of the parts of the sum, an upper bound: DeepGEMM chooses fewer parts where it chooses smaller tiles."""
    if group == GROUP and ceil_div(shape.k, GROUP) % 4:
        return 0  # measured: not where the last packed scale factors are fewer than four
    parts = ceil_div(shape.k, 4 * group) // _LEAST_WORDS
    most = 0
    for tile_rows in range(1, ceil_div(max_m, _TILE) + 1):
        split = min(parts, shape.num_sms // (tile_rows * ceil_div(shape.n, _TILE)))
        if split < 2:
            break
        most = max(most, 4 * split * min(max_m, tile_rows * _TILE) * shape.n)
    return most
