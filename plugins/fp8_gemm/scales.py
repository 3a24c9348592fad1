"""Scale factors of FP8 operands: declarations, bytes, quantisation and its inverse.

Two forms (measured: DeepGEMM's host code accepts just these):

* ``f32``: one float for each 128 columns of a row (activations) or each 128x128 block (weights), row-major. SM90
  transposes them in a kernel of its own on every call; SM100 and SM120 convert them.
* ``ue8m0``: one power of two for each 128 columns of a row, as an exponent byte, four to an int32, column-major
  with the column stride aligned to 4 rows. SM100 and SM120 only; nothing is launched for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from kregistry import BufferSpec, Choice, Shape, ShapeError, Target
from kregistry_plugins import installed
from kregistry_plugins.fp8_gemm import fp4

if TYPE_CHECKING:
    import torch

GROUP = 128
Role = Literal["input", "weight", "output"]
FP8_MAX = 448.0
#: The smallest maximum that a scale factor is made of, in DeepGEMM's own quantisation.
LEAST = 1e-4
#: What f32 scale factors are allocated with: DeepGEMM packs them to exponents on SM100 and SM120, in a kernel that
#: traps, and takes the CUDA context of the process with it, on anything but a power of two.
UNIT_SCALE = 1


def ceil_div(x: int, y: int) -> int:
    return -(-x // y)


def align(x: int, y: int) -> int:
    return ceil_div(x, y) * y


def _default_scales(target: Target) -> str:
    return "f32" if target.arch == "sm90" else "ue8m0"


SCALES = Choice(
    "scales",
    "form of the scale factors: f32, or packed powers of two; engines use f32 on SM90, ue8m0 elsewhere",
    ("f32", "ue8m0"),
    default=_default_scales,
)


def check_scales(kernel_type: str, shape: Shape) -> None:
    """Refuse packed scale factors on SM90 (DeepGEMM: ``sfa_dtype == kFloat``)."""
    if shape.scales == "ue8m0" and shape.target.arch == "sm90":
        raise ShapeError(kernel_type, "scales", "ue8m0 is refused on sm90", "leave it out, or say f32")


def operand(size: tuple[int, int], fp4_data: bool, groups: int | None = None, role: Role = "input") -> BufferSpec:
    """The data of an operand [groups,] rows, columns: FP8, or FP4 with two columns to an int8."""
    rows, columns = size
    stored = (rows, columns // 2 if fp4_data else columns)
    return BufferSpec(stored if groups is None else (groups, *stored), "int8" if fp4_data else "float8_e4m3fn", role)


def row_scales(scales: str, rows: int, k: int, groups: int | None = None, group: int = GROUP) -> BufferSpec:
    """Scale factors of an operand quantised by row and ``group`` columns: [groups,] rows, k / group (f32) or a quarter
    of that (ue8m0)."""
    if scales == "f32":
        size = (rows, ceil_div(k, group))
        return BufferSpec(size if groups is None else (groups, *size), "float32", initial=UNIT_SCALE)
    columns, stride = ceil_div(k, 4 * group), align(rows, 4)
    if groups is None:
        return BufferSpec((rows, columns), "int32", strides=(1, stride), storage=columns * stride)
    strides = (columns * stride, 1, stride)
    return BufferSpec((groups, rows, columns), "int32", strides=strides, storage=groups * columns * stride)


def weight_scales(
    scales: str, n: int, k: int, groups: int | None = None, group: int = GROUP, blocks: bool = True
) -> BufferSpec:
    """Scale factors of a weight: by block of ``group`` x ``group`` (f32), or by row and ``group`` columns."""
    spec = row_scales(scales, ceil_div(n, group) if scales == "f32" and blocks else n, k, groups, group)
    return BufferSpec(spec.shape, spec.dtype, "weight", spec.strides, spec.storage, spec.initial)


def rows_of(scale_factors: torch.Tensor, m: int) -> torch.Tensor:
    """The first ``m`` rows of a 2-D scale tensor, as DeepGEMM wants them.

    Packed ones need a column stride of exactly align(m, 4) (DeepGEMM 0.1, layout.hpp:106), so they are laid out anew
    over the same storage for every m.
    """
    import torch

    if scale_factors.dtype == torch.float32:
        return scale_factors[:m]
    return scale_factors.as_strided((m, scale_factors.shape[1]), (1, align(m, 4)))


def rows_are_linear(shape: Shape) -> bool:
    """Whether the sizes and strides of :func:`rows_of` grow with the rows: not those of packed scale factors.

    A kernel type without the dimension ``scales`` has packed ones only.
    """
    return shape.get(SCALES.name) == "f32"


def packs(shape: Shape) -> bool:
    """Whether DeepGEMM packs f32 scale factors: all arches but SM90. It traps on others than powers of two."""
    return shape.target.arch != "sm90"


def quantize_rows(
    values: torch.Tensor,
    data: torch.Tensor,
    scale_factors: torch.Tensor,
    group: int = GROUP,
    powers_of_two: bool = False,
    least: float = LEAST,
) -> None:
    """Quantise [..., rows, k] by row and ``group`` columns into ``data`` (fp8, or int8 for fp4) and its scales.

    ``least`` is the smallest maximum of a group that its scale factor is made of.
    FP4 is rounded as the installed DeepGEMM rounds tokens (:func:`~kregistry_plugins.fp8_gemm.fp4.encode`).
    """
    import torch

    fp4_data = data.dtype == torch.int8
    k = values.shape[-1]
    padded = torch.nn.functional.pad(values.float(), (0, align(k, group) - k))
    blocks = padded.unflatten(-1, (-1, group))
    scale = blocks.abs().amax(-1).clamp(least) / (fp4.MAX if fp4_data else FP8_MAX)
    if powers_of_two or scale_factors.dtype == torch.int32:
        scale = scale.log2().ceil().exp2()
    scaled = (blocks / scale.unsqueeze(-1)).flatten(-2)[..., :k]
    data.copy_(fp4.encode(scaled, not installed.is_first_series()) if fp4_data else scaled.to(data.dtype))
    scale_factors.copy_(scale if scale_factors.dtype == torch.float32 else _pack(scale))


def quantize_blocks(
    values: torch.Tensor,
    data: torch.Tensor,
    scale_factors: torch.Tensor,
    group: int = GROUP,
    powers_of_two: bool = False,
) -> None:
    """Quantise [..., n, k] by block of ``group`` x ``group`` into ``data`` (fp8) and f32 ``scale_factors``."""
    import torch

    n, k = values.shape[-2:]
    padded = torch.nn.functional.pad(values.float(), (0, align(k, group) - k, 0, align(n, group) - n))
    blocks = padded.unflatten(-1, (-1, group)).unflatten(-3, (-1, group))
    scale = blocks.abs().amax((-3, -1), keepdim=True).clamp(LEAST) / FP8_MAX
    if powers_of_two:
        scale = scale.log2().ceil().exp2()
    data.copy_((blocks / scale).flatten(-2).flatten(-3, -2)[..., :n, :k].to(data.dtype))
    scale_factors.copy_(scale[..., 0, :, 0])


def dequantize(data: torch.Tensor, scale_factors: torch.Tensor, group: int = GROUP) -> torch.Tensor:
    """The float32 values of an operand in either form; block scales are recognised by their fewer rows."""
    import torch

    values = fp4.decode(data) if data.dtype == torch.int8 else data.float()
    n, k = values.shape[-2:]
    scale = scale_factors if scale_factors.dtype == torch.float32 else _unpack(scale_factors, ceil_div(k, group))
    scale = scale.repeat_interleave(group, -1)[..., :k]
    if scale.shape[-2] != n:
        scale = scale.repeat_interleave(group, -2)[..., :n, :]
    return values * scale


def _pack(scale: torch.Tensor) -> torch.Tensor:
    """Powers of two, four exponent bytes to an int32, the first in the lowest byte."""
    import torch

    exponents = (scale.log2().round().to(torch.int32) + 127).to(torch.uint8)
    padded = torch.nn.functional.pad(exponents, (0, align(scale.shape[-1], 4) - scale.shape[-1]))
    return padded.contiguous().view(torch.int32)


def _unpack(packed: torch.Tensor, columns: int) -> torch.Tensor:
    import torch

    # A tensor of one column counts as contiguous whatever its strides are; its clone has those of a row-major one.
    exponents = packed.clone(memory_format=torch.contiguous_format).view(torch.uint8)[..., :columns]
    return (exponents.float() - 127).exp2()
