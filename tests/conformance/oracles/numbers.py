"""Numbers as DeepGEMM stores them: FP8, FP4 in pairs, and scale factors as FP32 or as packed exponents (UE8M0)."""

from __future__ import annotations

import torch

from kregistry import deep_gemm_version

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
    """An operand that is stored the other way round: [..., k, rows].

    FP4 numbers share bytes along the dimension that is contiguous: they are taken apart before they are turned.
    """
    if isinstance(operand, torch.Tensor):
        return operand.mT
    data, scales = operand
    if data.dtype == torch.int8 and data.stride(-1) == 1:
        data = from_fp4(data)
    return data.mT, scales.mT


def ue4m3(packed: torch.Tensor) -> torch.Tensor:
    """[..., c] int32 -> [..., 4 c] positive FP8 numbers (E4M3): four in each, the lowest byte first."""
    parts = (packed.long().unsqueeze(-1) >> torch.arange(0, 32, 8)) & 0xFF
    exponent, mantissa = parts >> 3 & 15, (parts & 7).double()
    normal = (1 + mantissa / 8) * torch.exp2((exponent - 7).double())
    return torch.where(exponent == 0, mantissa * 2.0**-9, normal).flatten(-2)


def to_fp8(values: torch.Tensor, block: int, powers_of_two: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """[rows, k] -> FP8 numbers, and a scale factor for each ``block`` of a row: the largest becomes 448 or less."""
    scales = _scales(values, block, 448.0, powers_of_two)
    return (values / scales.repeat_interleave(block, -1)).float().to(torch.float8_e4m3fn), scales


def to_fp4(values: torch.Tensor, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """[rows, k] -> FP4 numbers, two to an int8, and a power of two for each ``block`` of a row."""
    scales = _scales(values, block, 6.0, True)
    return _to_fp4(values / scales.repeat_interleave(block, -1)), scales


def to_nvfp4(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[rows, k] -> FP4 numbers, two to an int8, and an FP8 number for each 16, four to an int32."""
    stored = (values.unflatten(-1, (-1, 16)).abs().amax(-1) / 6).float().to(torch.float8_e4m3fn)
    factors = stored.double().repeat_interleave(16, -1)
    scaled = torch.where(factors > 0, values / factors, 0.0)
    return _to_fp4(scaled), stored.contiguous().view(torch.int32)


def write_packed(scales: torch.Tensor, factors: torch.Tensor) -> None:
    """Scale factors [rows, c] as they are, or the exponents of four powers of two to an int32."""
    if factors.dtype == torch.float32:
        factors.copy_(scales)
        return
    exponents_ = torch.nn.functional.pad(scales.log2().round().long() + 127, (0, -scales.shape[-1] % 4))
    words = (exponents_.unflatten(-1, (-1, 4)) << torch.arange(0, 32, 8)).sum(-1)
    factors.copy_(torch.where(words >= 2**31, words - 2**32, words).to(torch.int32))


def _scales(values: torch.Tensor, block: int, largest: float, powers_of_two: bool) -> torch.Tensor:
    least = 1e-4 if powers_of_two else 1e-10  # in the kernels that write exponents, and FP32 factors
    scales = values.double().unflatten(-1, (-1, block)).abs().amax(-1).clamp(least) / largest
    if not powers_of_two:
        return scales.float().double()
    mantissa, exponent = torch.frexp(scales)
    return torch.exp2((exponent - (mantissa == 0.5).int()).double())


def _to_fp4(values: torch.Tensor) -> torch.Tensor:
    """The nearest number; a number in the middle of two becomes the even one, or the smaller one in DeepGEMM 0.1."""
    table = torch.tensor(_E2M1, dtype=torch.float64)
    distance = (values.double().abs().unsqueeze(-1) - table).abs()
    smaller = distance.argmin(-1)
    larger = (distance.flip(-1).argmin(-1) - (len(_E2M1) - 1)).abs()
    first_series = (deep_gemm_version() or "").startswith("0.1.")
    code = smaller if first_series else torch.where(smaller % 2 == 0, smaller, larger)
    code = code | (values < 0).long() << 3
    pairs = code.unflatten(-1, (-1, 2))
    return (pairs[..., 0] | pairs[..., 1] << 4).to(torch.uint8).view(torch.int8)
