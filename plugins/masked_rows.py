"""Masked layouts: each group has its own buffer, which is partly filled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from kregistry import MK_ALIGNMENT, NUM_SMS, Buffers, KernelType, RunDimension, Setting
from kregistry_plugins import compiled_dims

if TYPE_CHECKING:
    import torch

#: Rows of each group's buffer must be a multiple of the tile height. The kernel stores whole tiles; otherwise the last
#: tile of a group overwrites rows of the next (on an H100: wrong results with 1, 65 and 300 rows).
ROW_ALIGNMENT = 128
#: Rows of the smallest tile of a masked GEMM. Tiles without a valid row are not stored.
_SMALLEST_TILE = 32


def rows_of_a_group(max_m: int) -> int:
    """Rows to allocate for each group: ``max_m`` rounded up to whole tiles."""
    return -(-max_m // ROW_ALIGNMENT) * ROW_ALIGNMENT


def fill_counts(masked_m: torch.Tensor, m: int, generator: torch.Generator) -> None:
    """Valid rows of each group: ``m``, or less within the same 32 rows, so that each tile of ``m`` rows is stored."""
    masked_m.random_(m - (m - 1) % _SMALLEST_TILE, m + 1, generator=generator)


def masked(d: torch.Tensor, masked_m: torch.Tensor) -> torch.Tensor:
    """Results [groups, rows, columns] with zeros past the valid rows of each group."""
    import torch

    rows = torch.arange(d.shape[1], device=d.device)
    return d.where((rows < masked_m.unsqueeze(-1)).unsqueeze(-1), 0)


class MaskedGemm(KernelType):
    """Grouped GEMM of a mixture-of-experts decode step. The function takes a, b, d, masked_m, expected_m first.

    ``expected_m``, a hint on the host, chooses the kernel. On the device, ``masked_m`` holds the valid rows of each
    group. The size of the buffers does not affect the kernel; on SM100 the alignment of contiguous layouts does.
    """

    settings: ClassVar[tuple[Setting, ...]] = (MK_ALIGNMENT, NUM_SMS, *compiled_dims.SETTINGS)
    run_dimension = RunDimension("expected_m", "rows that a group is expected to hold", "rows")
    raises_on_empty = ""  # it asserts expected_m > 0, and a buffer without rows has no stride

    def read_m(
        self, a: Any, b: Any, d: torch.Tensor, masked_m: torch.Tensor, expected_m: int, *args: Any, **kwargs: Any
    ) -> int:
        return expected_m if d.shape[1] else 0

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:, :m]}

    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": masked(buffers.d[:, :m], buffers.masked_m)}  # the last tile of a group is stored whole

    def writable(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:, : rows_of_a_group(m)]}  # whole tiles are stored: rows past masked_m are overwritten

    def untouched(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:, rows_of_a_group(m) :]}
