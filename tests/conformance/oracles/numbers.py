"""Numbers as DeepGEMM stores them: FP8, FP4 in pairs, and scale factors as FP32 or as packed exponents (UE8M0)."""

from __future__ import annotations

import torch

#: The positive numbers of E2M1, by their three bits.
_E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
#: Elements that may share a scale factor, the most first.
_BLOCKS = (128, 64, 32, 16)


def exponents(packed: torch.Tensor) -> torch.Tensor:
    """[..., c] int32 -> [..., 4 c] powers of two: four exponents in each, the lowest byte first."""
    shifts = torch.arange(0, 32, 8)
    exponent = (packed.long().unsqueeze(-1) >> shifts) & 0xFF
    return torch.exp2((exponent - 127).double()).flatten(-2)


def from_fp4(data: torch.Tensor) -> torch.Tensor:
    """[..., c] int8 -> [..., 2 c]: two numbers in each, the low half first."""
    values = torch.tensor(_E2M1, dtype=torch.float64)
    bits = data.long() & 0xFF
    halves = torch.stack((bits & 0xF, bits >> 4), -1).flatten(-2)
    return values[halves & 7] * torch.where(halves > 7, -1.0, 1.0)


def real(operand: tuple[torch.Tensor, torch.Tensor | None] | torch.Tensor, block: int = 128) -> torch.Tensor:
    """The numbers of an operand [..., rows, k], in float64: data alone, or data and scale factors.

    Scale factors [..., r, c] are for blocks of rows, whose size follows from r, and for ``block`` elements of k.
    """
    if isinstance(operand, torch.Tensor):
        return operand.double()
    data, scales = operand
    values = from_fp4(data) if data.dtype == torch.int8 else data.double()
    return values if scales is None else values * spread(scales, values.shape, block)


def spread(scales: torch.Tensor, shape: torch.Size, block: int) -> torch.Tensor:
    """Scale factors [..., r, c] for each element of [..., rows, k]."""
    rows, k = shape[-2:]
    wide = exponents(scales) if scales.dtype == torch.int32 else scales.double()
    wide = wide.repeat_interleave(block, -1)[..., :k]
    if wide.shape[-2] == rows:
        return wide
    high = next(each for each in _BLOCKS if _blocks(rows, each) == wide.shape[-2])
    return wide.repeat_interleave(high, -2)[..., :rows, :]


def _blocks(size: int, block: int) -> int:
    return -(-size // block)


Operand = tuple[torch.Tensor, torch.Tensor] | torch.Tensor


def flipped(operand: Operand) -> Operand:
    """An operand that is stored the other way round: [..., k, rows]."""
    return operand.mT if isinstance(operand, torch.Tensor) else (operand[0].mT, operand[1].mT)
