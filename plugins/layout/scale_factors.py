"""The two layouts that DeepGEMM's GEMMs want their scale factors in, and random scale factors.

Both are MN-major (the rows of a column are neighbours), the column stride aligned to 16 bytes: four elements.

* transposed: float32 [mn, columns], strides (1, align(mn, 4));
* packed: int32 [mn, ceil(columns / 4)], strides likewise; a scale factor is a power of two, and only its exponent byte
  is kept, four to an int32, the first in the lowest byte. Missing columns of the last int32 are zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kregistry import ArchSupport, RunDimension, Size
from kregistry_plugins.fp8_gemm.scales import align, ceil_div

if TYPE_CHECKING:
    import torch

COLUMNS = Size("columns", "scale factors of a row: ceil(k / 128); one kernel for each number", "columns")
ROWS = RunDimension("mn", "rows: tokens of one step, or rows of a weight", "rows")
EVERY_ARCH = (ArchSupport("sm90"), ArchSupport("sm100"), ArchSupport("sm120"))
#: Values are moved, not computed; what is left is the order in which the measure sums.
EXACT = 1e-12

_ALIGNMENT = 4


def result_bytes(mn: int, columns: int) -> int:
    """Bytes of a result: each column but the last is as long as the stride."""
    return 4 * ((columns - 1) * _column_stride(mn) + mn)


def transposed(result: torch.Tensor, mn: int, columns: int) -> torch.Tensor:
    """What a transposed result holds, read with the strides that are promised: [columns, mn]."""
    return result.as_strided((columns, mn), (_column_stride(mn), 1))


def exponents(result: torch.Tensor, mn: int, columns: int) -> torch.Tensor:
    """What a packed result holds, read with the strides that are promised: [ceil(columns / 4), mn, 4], as floats."""
    packed = result.as_strided((ceil_div(columns, 4), mn), (_column_stride(mn), 1))
    return bytes_of(packed)


def bytes_of(packed: torch.Tensor) -> torch.Tensor:
    """The four bytes of each int32 as floats, the lowest first, in a new last dimension."""
    import torch

    return packed.contiguous().view(torch.uint8).unflatten(-1, (-1, 4)).float()


def exponents_of(scale_factors: torch.Tensor) -> torch.Tensor:
    """What packing float32 [mn, columns] must give, as :func:`exponents` reads it."""
    import torch

    columns = scale_factors.shape[1]
    found = torch.nn.functional.pad(exponent_bytes(scale_factors), (0, ceil_div(columns, 4) * 4 - columns))
    return found.unflatten(-1, (-1, 4)).transpose(0, 1)


def exponent_bytes(scale_factors: torch.Tensor) -> torch.Tensor:
    """The exponent byte of each float32, as a float."""
    import torch

    return (scale_factors.contiguous().view(torch.int32) >> 23).float()


def fill_powers_of_two(scale_factors: torch.Tensor, generator: torch.Generator) -> None:
    """Random powers of two with every exponent that a normal float32 has; the kernels assert that they are powers."""
    import torch

    found = torch.randint(1, 255, scale_factors.shape, dtype=torch.int32, device=generator.device, generator=generator)
    scale_factors.copy_((found << 23).view(torch.float32))


def _column_stride(mn: int) -> int:
    return align(mn, _ALIGNMENT)
