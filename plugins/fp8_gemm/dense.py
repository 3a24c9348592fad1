"""``fp8_gemm_nt``: d[m, n] = a[m, k] @ b[n, k].T with FP8 operands and BF16 output."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from kregistry import ArchSupport, Buffers, BufferSpec, Call, Dimension, KernelType, RunDimension, Shape, Value
from kregistry_plugins import calls, settings
from kregistry_plugins.fp8_gemm import scales

if TYPE_CHECKING:
    import torch

N = Dimension("n", "columns of the output: rows of the weight on this rank", "columns", multiple_of=8)
K = Dimension("k", "columns of the input: the dimension that is summed over", "columns", multiple_of=16)

ARCHS = (
    ArchSupport("sm90"),
    ArchSupport("sm100"),
    ArchSupport("sm120", ">=0.2", "DeepGEMM 0.1 asserts 'Unknown recipe' (layout.hpp:76) on sm120"),
)

Operand = tuple["torch.Tensor", "torch.Tensor"]


@settings.follows_num_sms
class Fp8GemmNt(KernelType):
    """Dense FP8 GEMM, the linear layers of FP8 block-quantised models.

    Of the calls of ``fp8_gemm_nt``, those with FP8 operands, BF16 output, no ``c``, and the recipe left out or of 128
    columns belong here. The kernel types of fine_grained.py take the others.
    """

    name = "fp8_gemm_nt"
    summary = "dense FP8 GEMM with 128-column scale factors, BF16 output"
    dimensions: ClassVar[tuple[Dimension, ...]] = (N, K, scales.SCALES)
    run_dimension = RunDimension("m", "tokens of one step", "rows")
    function_names: ClassVar[tuple[str, ...]] = ("fp8_gemm_nt", "fp8_fp4_gemm_nt")
    archs = ARCHS
    examples = ({"n": 576, "k": 512}, {"n": 200, "k": 144}, {"n": 256, "k": 640, "scales": "f32"})
    handles_empty = ""

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
        return scales.conversion_workspace(shape, max_m)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        activations = (buffers.a[:m], scales.rows_of(buffers.sfa, m))
        return Call((activations, (buffers.b, buffers.sfb), buffers.d[:m]))

    def read_m(self, a: Operand, b: Operand, d: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        return d.shape[0]

    def read_shape(self, a: Operand, b: Operand, d: torch.Tensor, *args: Any, **kwargs: Any) -> Mapping[str, Value]:
        check_dense_call(self.name, a, b, d, *args, **kwargs)
        n, k = b[0].shape
        return {"n": n, "k": k, "scales": scale_form(a[1])}

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:m]}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        fill_rows(buffers.a[:m], scales.rows_of(buffers.sfa, m), generator, buffers.shape)
        fill_weight(buffers.b, buffers.sfb, generator, buffers.shape)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        a = scales.dequantize(buffers.a[:m], scales.rows_of(buffers.sfa, m))
        return {"d": a @ scales.dequantize(buffers.b, buffers.sfb).T}


#: What DeepGEMM chooses when the recipe is left out, and how an engine may write it.
_RECIPES = (None, (1, 128, 128), (1, 1, 128))


def check_dense_call(
    kernel_type: str,
    a: Operand,
    b: Operand,
    d: torch.Tensor,
    c: torch.Tensor | None = None,
    recipe: Collection[int] | None = None,
    recipe_a: Collection[int] | None = None,
    recipe_b: Collection[int] | None = None,
    *args: Any,
    **kwargs: Any,
) -> None:
    """Refuse a call of the same function that is no plain FP8 GEMM with 128-column scale factors and BF16 output."""
    calls.belongs(kernel_type, "c", None if c is None else "a tensor", (None,))
    check_fp8_operands(kernel_type, a, b, d, recipe, recipe_a, recipe_b)


def check_fp8_operands(
    kernel_type: str,
    a: Operand,
    b: Operand,
    d: torch.Tensor,
    recipe: Collection[int] | None,
    recipe_a: Collection[int] | None,
    recipe_b: Collection[int] | None,
) -> None:
    """Refuse operands that are not FP8 with 128-column scale factors, and outputs that are not BF16."""
    for name, operand in (("a", a), ("b", b)):
        calls.belongs(kernel_type, f"{name}.dtype", calls.dtype_of(operand[0]), ("float8_e4m3fn",))
    calls.belongs(kernel_type, "d.dtype", calls.dtype_of(d), ("bfloat16",))
    calls.belongs(kernel_type, "recipe", calls.recipe_of(recipe), _RECIPES)
    calls.belongs(kernel_type, "recipe_a", calls.recipe_of(recipe_a), (None, (1, 128)))
    calls.belongs(kernel_type, "recipe_b", calls.recipe_of(recipe_b), (None, (1, 128), (128, 128)))


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
    return torch.randn((*rows, values), device=generator.device, generator=generator)
