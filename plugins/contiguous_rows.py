"""Contiguous layouts: the rows of all groups in one buffer, each group's rows aligned.

``grouped_layout`` says which rows belong to which group: the group of each row, or (the psum layout) where each
group ends, the next one starting at the next aligned row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kregistry import Arguments, Buffers, BufferSpec, Dimension, Flag, RunDimension, Shape, ShapeError, Size

if TYPE_CHECKING:
    import torch

GROUPS = Size("num_groups", "experts on this rank", "groups")
RUN = RunDimension("m", "rows of all groups together, each group aligned", "rows", 128, 128)
PSUM = Flag("use_psum_layout", "grouped_layout holds where each group ends, not the group of each row", default=False)
ZERO_PADDING = Flag(
    "ensure_zero_padding",
    "rows between groups are written as zeros (sm100 has kernels of its own for either)",
    default=True,
)


def _rows_per_group(shape: Shape, m: int) -> int:
    return -(-m // int(shape.num_groups)) or 1


EXPECTED_M = Size(
    "expected_m_for_psum_layout",
    "hint for the psum layout: rows that a group is expected to hold",
    "rows",
    default=None,
    optional=True,
    policies={"rows_per_group": _rows_per_group},
)
#: The alignments of SM120 below 128, and 128: rows of the tiles of its grouped GEMMs.
_TILE_ROWS = (32, 64, 128)
#: Dimensions of every contiguous layout; those of ``nt`` have one more.
LAYOUT = (PSUM, ZERO_PADDING)
NT_LAYOUT = (*LAYOUT, EXPECTED_M)


def check_layout(kernel_type: str, shape: Shape) -> None:
    """Refuse a hint for the psum layout where it is not used, and alignments that fit no tile, as DeepGEMM does."""
    name = EXPECTED_M.name
    if shape.get(name) is not None and not shape.use_psum_layout:
        raise ShapeError(kernel_type, name, "needs use_psum_layout: true", "leave it out")
    alignment = shape.mk_alignment
    if shape.target.arch == "sm120" and alignment not in _TILE_ROWS and alignment % max(_TILE_ROWS):
        rule = f"{alignment} is refused on sm120: no tile of a grouped GEMM divides it (DeepGEMM: candidates.empty())"
        raise ShapeError(kernel_type, "mk_alignment", rule, "say 32, 64, or a multiple of 128")


def layout_spec(shape: Shape, max_m: int) -> BufferSpec:
    """``grouped_layout`` [num_groups] (psum) or [m]."""
    return BufferSpec((shape.num_groups if shape.use_psum_layout else max_m,), "int32", initial=0)


def layout_of(buffers: Buffers, m: int) -> torch.Tensor:
    """``grouped_layout`` of a launch at ``m``."""
    layout: torch.Tensor = buffers.grouped_layout
    return layout if buffers.shape.use_psum_layout else layout[:m]


def is_linear(shape: Shape) -> bool:
    """Whether the sizes and integers of :func:`layout_of` and :func:`keywords` grow with m: not those of a policy."""
    return not isinstance(shape.get(EXPECTED_M.name), str)


def keywords(shape: Shape, m: int) -> dict[str, Any]:
    """The arguments that say the layout, where they are not DeepGEMM's defaults."""
    said: dict[str, Any] = {}
    if shape.use_psum_layout:
        said[PSUM.name] = True
    if not shape.ensure_zero_padding:
        said[ZERO_PADDING.name] = False
    if shape.get(EXPECTED_M.name) is not None:
        said[EXPECTED_M.name] = shape.at(EXPECTED_M, m)
    return said


def read_layout(call: Arguments, layout: tuple[Dimension, ...]) -> dict[str, Any]:
    """The dimensions of a real call, which are arguments of their names."""
    return {each.name: getattr(call, each.name) for each in layout}


def blocks(shape: Shape, m: int) -> Iterator[slice]:
    """Each aligned block of rows."""
    size = shape.mk_alignment
    for start in range(0, m, size):
        yield slice(start, min(m, start + size))


def groups_of(buffers: Buffers, m: int) -> Iterator[tuple[slice, int]]:
    """Each block of rows, with the group that ``grouped_layout`` holds; blocks of no group are left out."""
    import torch

    shape, layout = buffers.shape, buffers.grouped_layout
    for rows in blocks(shape, m):
        if shape.use_psum_layout:
            group = int(torch.searchsorted(layout.contiguous(), layout.new_tensor(rows.start), right=True))
        else:
            group = int(layout[rows.start])
        if group < shape.num_groups:
            yield rows, group


def fill_groups(buffers: Buffers, m: int, generator: torch.Generator) -> None:
    """Write into ``grouped_layout`` which of the first ``m`` rows belong to which group: random ones, ascending."""
    import torch

    shape = buffers.shape
    parts = tuple(blocks(shape, m))
    device = buffers.grouped_layout.device
    drawn = torch.randint(shape.num_groups, (len(parts),), generator=generator, device=device)
    chosen = tuple(zip(parts, sorted(drawn.tolist())))
    if not shape.use_psum_layout:
        for rows, group in chosen:
            buffers.grouped_layout[rows] = group
        return
    ends = {group: rows.stop for rows, group in chosen}
    end = 0
    for group in range(shape.num_groups):
        end = ends.get(group, -(-end // shape.mk_alignment) * shape.mk_alignment)
        buffers.grouped_layout[group] = end
