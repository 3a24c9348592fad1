"""``fp8_gemm_nt``: d[m, n] = a[m, k] @ b[n, k].T with FP8 operands and BF16 output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from attrs import evolve

from kregistry import (
    MK_ALIGNMENT,
    NUM_SMS,
    ArchSupport,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    Dimension,
    Gemm,
    Proof,
    Shape,
    Signature,
    Size,
    Value,
)
from kregistry_plugins import calls, compiled_dims
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.fp8_gemm.workspace import dense_workspace

if TYPE_CHECKING:
    import torch

N = Size("n", "columns of the output: rows of the weight on this rank", "columns", multiple_of=8)
K = Size("k", "columns of the input: the dimension that is summed over", "columns", multiple_of=16)

ARCHS = (
    ArchSupport("sm90"),
    ArchSupport("sm100"),
    ArchSupport("sm120", ">=0.2", "DeepGEMM 0.1 asserts 'Unknown recipe' (layout.hpp:76) on sm120"),
)

#: The alignment of contiguous layouts is part of dense kernels of SM120 (rule KR210 of the conformance kit).
ALIGNMENT = evolve(MK_ALIGNMENT, archs=("sm120",))
#: ``fp8_gemm_nt`` and the functions beside it.
DENSE = Signature(
    "a, b, d, c=None, recipe=None, recipe_a=None, recipe_b=None, compiled_dims='', disable_ue8m0_cast=False, "
    "*args, **kwargs"
)

Operand = tuple["torch.Tensor", "torch.Tensor"]


class Fp8GemmNt(Gemm):
    """Dense FP8 GEMM, the linear layers of FP8 block-quantised models.

    Of the calls of ``fp8_gemm_nt``, those with FP8 operands, BF16 output, no ``c``, and the recipe left out or of 128
    columns belong here. The kernel types of fine_grained.py take the others.
    """

    name = "fp8_gemm_nt"
    summary = "dense FP8 GEMM with 128-column scale factors, BF16 output"
    dimensions: ClassVar[tuple[Dimension, ...]] = (N, K, scales.SCALES, compiled_dims.DENSE)
    settings = (ALIGNMENT, NUM_SMS, *compiled_dims.SETTINGS)
    function_names: ClassVar[tuple[str, ...]] = ("fp8_gemm_nt", "fp8_fp4_gemm_nt")
    signature = DENSE
    without_effect = calls.NO_CAST
    archs = ARCHS
    proof = Proof(examples=({"n": 576, "k": 512}, {"n": 200, "k": 144}, {"n": 256, "k": 640, "scales": "f32"}))

    def check(self, shape: Shape) -> None:
        scales.check_scales(self.name, shape)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        n, k = shape.n, shape.k
        return {
            "a": BufferSpec((max_m, k), "float8_e4m3fn"),
            "sfa": scales.row_scales(shape.scales, max_m, k),
            "b": BufferSpec((n, k), "float8_e4m3fn", "weight"),
            "sfb": scales.weight_scales(shape.scales, n, k),
            "d": BufferSpec((max_m, n), "bfloat16", "output"),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        return dense_workspace(shape, max_m, f32_scales=shape.scales == "f32")

    def linear_arguments(self, shape: Shape) -> bool:
        return scales.rows_are_linear(shape)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        activations = (buffers.a[:m], scales.rows_of(buffers.sfa, m))
        keywords = compiled_dims.keywords(buffers.shape, compiled_dims.DENSE)
        return Call((activations, (buffers.b, buffers.sfb), buffers.d[:m]), keywords)

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        check_dense_call(self.name, call)
        n, k = call.b[0].shape
        return {"n": n, "k": k, "scales": scale_form(call.a[1]), **compiled_dims.read(call, compiled_dims.DENSE)}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        fill_rows(buffers.a[:m], scales.rows_of(buffers.sfa, m), generator, buffers.shape)
        fill_weight(buffers.b, buffers.sfb, generator, buffers.shape)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        a = scales.dequantize(buffers.a[:m], scales.rows_of(buffers.sfa, m))
        return {"d": a @ scales.dequantize(buffers.b, buffers.sfb).T}


#: What DeepGEMM chooses when the recipe is left out, and how an engine may write it.
_RECIPES = (None, (1, 128, 128), (1, 1, 128))


def check_dense_call(kernel_type: str, call: Arguments) -> None:
    """Refuse a call of the same function that is no plain FP8 GEMM with 128-column scale factors and BF16 output."""
    calls.belongs(kernel_type, "c", None if call.c is None else "a tensor", (None,))
    check_fp8_operands(kernel_type, call)


def check_fp8_operands(kernel_type: str, call: Arguments, parts: bool = True) -> None:
    """Refuse operands that are not FP8 with 128-column scale factors, and outputs that are not BF16.

    Args:
        kernel_type: its name.
        call: the call.
        parts: whether the function also takes a recipe of each operand.
    """
    for name, operand in (("a", call.a), ("b", call.b)):
        calls.belongs(kernel_type, f"{name}.dtype", calls.dtype_of(operand[0]), ("float8_e4m3fn",))
    calls.belongs(kernel_type, "d.dtype", calls.dtype_of(call.d), ("bfloat16",))
    calls.belongs(kernel_type, "recipe", calls.recipe_of(call.recipe), _RECIPES)
    if not parts:
        return
    calls.belongs(kernel_type, "recipe_a", calls.recipe_of(call.recipe_a), (None, (1, 128)))
    calls.belongs(kernel_type, "recipe_b", calls.recipe_of(call.recipe_b), (None, (1, 128), (128, 128)))


def scale_form(scale_factors: torch.Tensor) -> str:
    """The word in the manifest for the form of a real scale tensor."""
    import torch

    return "f32" if scale_factors.dtype == torch.float32 else "ue8m0"


def fill_rows(
    data: torch.Tensor,
    scale_factors: torch.Tensor,
    generator: torch.Generator,
    shape: Shape,
    group: int = scales.GROUP,
) -> None:
    """Random activations."""
    scales.quantize_rows(_normal(data, generator), data, scale_factors, group, scales.packs(shape))


def fill_weight(
    data: torch.Tensor,
    scale_factors: torch.Tensor,
    generator: torch.Generator,
    shape: Shape,
    group: int = scales.GROUP,
) -> None:
    """Random weights."""
    import torch

    quantize = scales.quantize_blocks if scale_factors.dtype == torch.float32 else scales.quantize_rows
    quantize(_normal(data, generator), data, scale_factors, group, scales.packs(shape))


def _normal(data: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A value for each that ``data`` holds: two to an int8."""
    import torch

    *rows, columns = data.shape
    values = 2 * columns if data.dtype == torch.int8 else columns
    normal = torch.randn((*rows, values), device=generator.device, generator=generator)
    return normal * magnitudes(normal.shape, generator)


def magnitudes(size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """1, 2 or 4 for each block of 128 rows and 128 columns [..., rows, columns].

    Normal numbers alone would give all blocks nearly one scale factor, and powers of two exactly one.
    """
    import torch

    *others, rows, columns = size
    blocks = (*others, scales.ceil_div(rows, scales.GROUP), scales.ceil_div(columns, scales.GROUP))
    exponents = torch.randint(0, 3, blocks, device=generator.device, generator=generator)
    factors = exponents.float().exp2().repeat_interleave(scales.GROUP, -2).repeat_interleave(scales.GROUP, -1)
    return factors[..., :rows, :columns]
