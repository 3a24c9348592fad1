"""FP4 (E2M1) operands: two values to an int8, the first in the low four bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX = 6.0
#: The magnitudes of E2M1, by code; the sign is bit 3.
_MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def encode(values: torch.Tensor) -> torch.Tensor:
    """[..., k] float32 to [..., k / 2] int8, to the nearest magnitude."""
    import torch

    magnitudes = torch.tensor(_MAGNITUDES, device=values.device)
    middles = (magnitudes[1:] + magnitudes[:-1]) / 2
    codes = torch.bucketize(values.abs().contiguous(), middles).to(torch.uint8) | (values < 0).to(torch.uint8) << 3
    low, high = codes.unflatten(-1, (-1, 2)).unbind(-1)
    return (low | high << 4).view(torch.int8)


def decode(packed: torch.Tensor) -> torch.Tensor:
    """[..., k / 2] int8 to [..., k] float32."""
    import torch

    magnitudes = torch.tensor(_MAGNITUDES, device=packed.device)
    table = torch.cat([magnitudes, -magnitudes])
    codes = packed.contiguous().view(torch.uint8)
    return table[torch.stack([codes & 15, codes >> 4], -1).flatten(-2).int()]


def transpose(packed: torch.Tensor) -> torch.Tensor:
    """[..., rows, columns / 2] int8 to [..., columns, rows / 2]: a copy, since the values share bytes."""
    return encode(decode(packed).mT)
