"""FP4 (E2M1) operands: two values to an int8, the first in the low four bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX = 6.0
#: The magnitudes of E2M1, by code; the sign is bit 3.
_MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def encode(values: torch.Tensor, ties_to_even: bool = True) -> torch.Tensor:
    """[..., k] float32 to [..., k / 2] int8, to the nearest magnitude; a tie goes to the even code, or towards zero.

    ``cvt.rn`` of PTX, and with it the kernels of DeepGEMM that quantise between two GEMMs, take the even code. The
    pre-dispatch of a mega MoE has its own rule: towards zero in 0.1, the even code in 0.2. DeepGEMM's Python helpers
    follow it.
    """
    import torch

    magnitudes = torch.tensor(_MAGNITUDES, device=values.device)
    middles = (magnitudes[1:] + magnitudes[:-1]) / 2
    absolute = values.abs().contiguous()
    nearest = torch.bucketize(absolute, middles)  # the lower code at a tie
    if ties_to_even:
        nearest = torch.where(nearest % 2 == 0, nearest, torch.bucketize(absolute, middles, right=True))
    codes = nearest.to(torch.uint8) | (values < 0).to(torch.uint8) << 3
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
