"""``fp8_gemm_nt`` with other recipes than 128x128 blocks: one scale factor for each row and group of columns.

* wgrad, recipe (1, 1, 128): f32 scale factors, FP32 output that is added to;
* MXFP8, recipe (1, 1, 32); FP8 x FP4; FP4 x FP4: packed powers of two, SM100 and SM120.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from kregistry import ArchSupport, Buffers, BufferSpec, Call, Dimension, KernelType, RunDimension, Shape, Value
from kregistry_plugins import calls, settings
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.fp8_gemm.dense import ARCHS, K, N, Operand

if TYPE_CHECKING:
    import torch

K_FP4 = Dimension("k", "columns of the input: the dimension that is summed over", "columns", multiple_of=128)
_SM120 = ArchSupport("sm120", ">=0.2", "DeepGEMM 0.1 has no GEMM for sm120")
_NO_SM90 = "DeepGEMM asserts: FP4 operands need sm100 or sm120 (layout.hpp)"


class _FineGrainedGemm(KernelType):
    """Both operands are quantised by row; the subclasses say how finely, and in which dtype."""

    a_group: ClassVar[int]
    b_group: ClassVar[int]
    a_fp4: ClassVar[bool] = False
    b_fp4: ClassVar[bool] = False
    scale_form: ClassVar[str] = "ue8m0"
    output_dtype: ClassVar[str] = "bfloat16"
    #: Whether the product is added to ``c``.
    adds: ClassVar[bool] = False
    keywords: ClassVar[Mapping[str, Any]]

    run_dimension = RunDimension("m", "tokens of one step", "rows")

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        n, k = shape.n, shape.k
        sfb = scales.row_scales(self.scale_form, n, k, group=self.b_group)
        return {
            "a": _operand(max_m, k, self.a_fp4, "input"),
            "sfa": scales.row_scales(self.scale_form, max_m, k, group=self.a_group),
            "b": _operand(n, k, self.b_fp4, "weight"),
            "sfb": BufferSpec(sfb.shape, sfb.dtype, "weight", sfb.strides, sfb.storage),
            "d": BufferSpec((max_m, n), self.output_dtype, "output"),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        a = (buffers.a[:m], scales.rows_of(buffers.sfa, m))
        return Call((a, (buffers.b, buffers.sfb), buffers.d[:m]), self.keywords)

    def read_m(self, a: Operand, b: Operand, d: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        return d.shape[0]

    def read_shape(
        self,
        a: Operand,
        b: Operand,
        d: torch.Tensor,
        c: torch.Tensor | None = None,
        recipe: Collection[int] | None = None,
        recipe_a: Collection[int] | None = None,
        recipe_b: Collection[int] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Mapping[str, Value]:
        """Takes the calls with this kernel type's recipe and dtypes only: functions are shared with fp8_gemm_nt."""
        for name, operand, fp4 in (("a", a, self.a_fp4), ("b", b, self.b_fp4)):
            wanted = "int8" if fp4 else "float8_e4m3fn"
            calls.belongs(self.name, f"{name}.dtype", calls.dtype_of(operand[0]), (wanted,))
        calls.belongs(self.name, "d.dtype", calls.dtype_of(d), (self.output_dtype,))
        calls.belongs(self.name, "c", "a tensor" if c is not None else None, ("a tensor" if self.adds else None,))
        for name, found in (("recipe", recipe), ("recipe_a", recipe_a), ("recipe_b", recipe_b)):
            calls.belongs(self.name, name, calls.recipe_of(found), (self.keywords.get(name),))
        n, k = b[0].shape
        return {"n": n, "k": k * 2 if self.b_fp4 else k}

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:m]}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        import torch

        k = buffers.shape.k
        for data, factors, group in (
            (buffers.a[:m], scales.rows_of(buffers.sfa, m), self.a_group),
            (buffers.b, buffers.sfb, self.b_group),
        ):
            values = torch.randn((data.shape[0], k), device=generator.device, generator=generator)
            scales.quantize_rows(values, data, factors, group)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        a = scales.dequantize(buffers.a[:m], scales.rows_of(buffers.sfa, m), self.a_group)
        return {"d": a @ scales.dequantize(buffers.b, buffers.sfb, self.b_group).T}


@settings.follows_num_sms
class Fp8GemmNtWgrad(_FineGrainedGemm):
    """Weight gradients: ``d += a @ b.T`` in FP32. SM90 wants ``c`` to be ``d``."""

    name = "fp8_gemm_nt_wgrad"
    summary = "dense FP8 GEMM, recipe (1, 1, 128), accumulated into FP32 (weight gradients)"
    dimensions = (N, K)
    function_names = ("fp8_gemm_nt", "fp8_fp4_gemm_nt")
    archs = ARCHS
    examples = ({"n": 256, "k": 512}, {"n": 200, "k": 144})
    a_group = b_group = 128
    scale_form = "f32"
    output_dtype = "float32"
    adds = True
    keywords: ClassVar[Mapping[str, Any]] = {"recipe": (1, 1, 128)}

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        rows = scales.align(max_m, 4) + scales.align(shape.n, 4)
        return 4 * rows * scales.ceil_div(shape.k, 128 if shape.target.arch == "sm90" else 512)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        call = super().arguments(buffers, m)
        return Call(call.args, {**call.kwargs, "c": buffers.d[:m]})

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.d[:m].normal_(generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """The sum with what ``d`` holds, so it must be asked before the launch."""
        return {"d": buffers.d[:m] + super().reference(buffers, m)["d"]}


@settings.follows_num_sms
class MxFp8GemmNt(_FineGrainedGemm):
    """MXFP8: one power of two for each 32 columns of both operands."""

    name = "mxfp8_gemm_nt"
    summary = "dense MXFP8 GEMM, recipe (1, 1, 32), packed scale factors"
    dimensions = (N, K)
    function_names = ("fp8_gemm_nt", "fp8_fp4_gemm_nt")
    archs = (
        ArchSupport("sm90", "none", "DeepGEMM asserts 'Unknown SF transformation' (layout.hpp) on sm90"),
        ArchSupport("sm100"),
        _SM120,
    )
    examples = ({"n": 256, "k": 512}, {"n": 200, "k": 144})
    a_group = b_group = 32
    keywords: ClassVar[Mapping[str, Any]] = {"recipe": (1, 1, 32)}


@settings.follows_num_sms
class Fp8Fp4GemmNt(_FineGrainedGemm):
    """FP8 activations (128 columns a scale factor) by FP4 weights (32 columns a scale factor)."""

    name = "fp8_fp4_gemm_nt"
    summary = "dense FP8 x FP4 GEMM: FP8 activations, FP4 weights, packed scale factors"
    dimensions = (N, K_FP4)
    function_names = ("fp8_fp4_gemm_nt",)
    archs = (ArchSupport("sm90", "none", _NO_SM90), ArchSupport("sm100"), _SM120)
    examples = ({"n": 256, "k": 512}, {"n": 200, "k": 640})
    a_group, b_group = 128, 32
    b_fp4 = True
    keywords: ClassVar[Mapping[str, Any]] = {"recipe_a": (1, 128), "recipe_b": (1, 32)}


@settings.follows_num_sms
class Fp4GemmNt(_FineGrainedGemm):
    """FP4 activations by FP4 weights, 32 columns a scale factor."""

    name = "fp4_gemm_nt"
    summary = "dense FP4 x FP4 GEMM, recipe (1, 1, 32), packed scale factors"
    dimensions = (N, K_FP4)
    function_names = ("fp4_gemm_nt", "fp8_fp4_gemm_nt")
    archs = (ArchSupport("sm90", "none", _NO_SM90), ArchSupport("sm100"), _SM120)
    examples = ({"n": 256, "k": 512}, {"n": 200, "k": 640})
    a_group = b_group = 32
    a_fp4 = b_fp4 = True
    keywords: ClassVar[Mapping[str, Any]] = {"recipe": (1, 1, 32)}


def _operand(rows: int, k: int, fp4: bool, role: Any) -> BufferSpec:
    return BufferSpec((rows, k // 2), "int8", role) if fp4 else BufferSpec((rows, k), "float8_e4m3fn", role)
