"""NVFP4: E2M1 values, two to an int8, with a UE4M3 scale factor for each 16 columns, four to an int32.

Source: ``per_token_cast_to_nvfp4`` and ``pack_ue4m3_to_int`` (deep_gemm/utils/math.py), DeepGEMM 0.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kregistry_plugins.fp8_gemm import fp4
from kregistry_plugins.fp8_gemm.scales import FP8_MAX

if TYPE_CHECKING:
    import torch

GROUP = 16
#: The largest number that a scale factor and a value make. Tokens are scaled as a whole to stay below it.
MAX = FP8_MAX * fp4.MAX
#: The least maximum of a token that its scale is made of (``pre_dispatch_block_reduce_max``).
_LEAST = 1e-4


def outer_scale(values: torch.Tensor) -> torch.Tensor:
    """[..., rows, columns] to [..., rows, 1]: what divides a token as a whole, as the pre-dispatch chooses it."""
    return values.float().abs().amax(-1, keepdim=True).clamp(_LEAST) / MAX


def quantize(values: torch.Tensor, data: torch.Tensor, scale_factors: torch.Tensor) -> None:
    """[..., rows, columns] into ``data`` [..., columns / 2] int8 and ``scale_factors`` [..., columns / 64] int32."""
    import torch

    blocks = values.float().unflatten(-1, (-1, GROUP))
    scale = (blocks.abs().amax(-1) / fp4.MAX).to(torch.float8_e4m3fn)
    rounded = scale.float().unsqueeze(-1)
    data.copy_(fp4.encode(torch.where(rounded > 0, blocks / rounded, 0.0).flatten(-2)))
    scale_factors.copy_(scale.contiguous().view(torch.int32))


def dequantize(data: torch.Tensor, scale_factors: torch.Tensor) -> torch.Tensor:
    """The inverse, in float32."""
    import torch

    packed = scale_factors.clone(memory_format=torch.contiguous_format)
    return fp4.decode(data) * packed.view(torch.float8_e4m3fn).float().repeat_interleave(GROUP, -1)
