"""``fp8_gemm_nt`` with other recipes than 128x128 blocks: one scale factor for each row and group of columns.

* wgrad, recipe (1, 1, 128): f32 scale factors, FP32 output that is added to;
* blocks of 32x32, recipe (1, 32, 32): f32 scale factors;
* MXFP8, recipe (1, 1, 32); FP8 x FP4; FP4 x FP4: packed powers of two, SM100 and SM120.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from kregistry import NUM_SMS, Arguments, Buffers, BufferSpec, Call, Gemm, Proof, Shape, Value
from kregistry_plugins import calls, compiled_dims
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.fp8_gemm.dense import ALIGNMENT, ARCHS, DENSE, K, N, fill_rows, fill_weight
from kregistry_plugins.fp8_gemm.precision import Fp4, Fp8Block32, Fp8ByFp4, MxFp8, Precision
from kregistry_plugins.fp8_gemm.workspace import dense_workspace

if TYPE_CHECKING:
    import torch


#: On SM100 DeepGEMM launches a kernel for FP32 scale factors before it refuses a call that forbids their conversion.
_NO_CAST_OF_FP32: Mapping[str, tuple[str, ...]] = {"disable_ue8m0_cast": ("sm90",)}


class _FineGrainedGemm(Precision, Gemm):
    """Both operands are quantised by row; the precision says how finely, and in which dtype."""

    #: Whether the product is added to ``c``.
    adds: ClassVar[bool] = False

    settings = (ALIGNMENT, NUM_SMS, *compiled_dims.SETTINGS)
    signature = DENSE
    without_effect = calls.NO_CAST

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {
            **self.activations(shape, max_m),
            **self.weights(shape),
            "d": BufferSpec((max_m, shape.n), self.output_dtype, "output", accumulated=self.adds),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        return dense_workspace(
            shape,
            max_m,
            f32_scales=self.scale_form == "f32",
            weight_blocks=self.weight_blocks,
            group=max(self.a_group, self.b_group),
        )

    def arguments(self, buffers: Buffers, m: int) -> Call:
        a = (buffers.a[:m], scales.rows_of(buffers.sfa, m))
        keywords = {**self.keywords, **compiled_dims.keywords(buffers.shape, compiled_dims.DENSE)}
        return Call((a, (buffers.b, buffers.sfb), buffers.d[:m]), keywords)

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        calls.belongs(self.name, "c", "a tensor" if call.c is not None else None, ("a tensor" if self.adds else None,))
        self.check_operands(call)
        n, k = call.b[0].shape
        return {"n": n, "k": k * 2 if self.b_fp4 else k, **compiled_dims.read(call, compiled_dims.DENSE)}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        fill_rows(buffers.a[:m], scales.rows_of(buffers.sfa, m), generator, buffers.shape, self.a_group)
        fill_b = fill_weight if self.weight_blocks else fill_rows
        fill_b(buffers.b, buffers.sfb, generator, buffers.shape, self.b_group)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        a = scales.dequantize(buffers.a[:m], scales.rows_of(buffers.sfa, m), self.a_group)
        return {"d": a @ scales.dequantize(buffers.b, buffers.sfb, self.b_group).T}


class Fp8GemmNtWgrad(_FineGrainedGemm):
    """Weight gradients: ``d += a @ b.T`` in FP32. SM90 wants ``c`` to be ``d``."""

    name = "fp8_gemm_nt_wgrad"
    summary = "dense FP8 GEMM, recipe (1, 1, 128), accumulated into FP32 (weight gradients)"
    dimensions = (N, K, compiled_dims.DENSE)
    function_names = ("fp8_gemm_nt", "fp8_fp4_gemm_nt")
    archs = ARCHS
    # For fewer rows DeepGEMM 0.1.4 chooses kernels on SM90 that do not compile (docs/upstream-broken-kernels.md).
    proof = Proof(examples=({"n": 256, "k": 512}, {"n": 200, "k": 144}), start=33)
    scale_form = "f32"
    weight_blocks = False
    output_dtype = "float32"
    adds = True
    keywords: ClassVar[Mapping[str, Any]] = {"recipe": (1, 1, 128)}
    without_effect = _NO_CAST_OF_FP32

    def arguments(self, buffers: Buffers, m: int) -> Call:
        call = super().arguments(buffers, m)
        return Call(call.args, {**call.kwargs, "c": buffers.d[:m]})

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.d[:m].normal_(generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """The sum with what ``d`` holds, so it must be asked before the launch."""
        return {"d": buffers.d[:m] + super().reference(buffers, m)["d"]}


class Fp8GemmNtBlock32(Fp8Block32, _FineGrainedGemm):
    """One f32 scale factor for each 32 columns of ``a``, and each 32x32 block of ``b``."""

    name = "fp8_gemm_nt_block32"
    summary = "dense FP8 GEMM, recipe (1, 32, 32), f32 scale factors of 32x32 blocks"
    dimensions = (N, Fp8Block32.k_dimension, compiled_dims.DENSE)
    without_effect = _NO_CAST_OF_FP32
    function_names = ("fp8_gemm_nt", "fp8_fp4_gemm_nt")
    proof = Proof(examples=({"n": 256, "k": 512}, {"n": 200, "k": 160}))


class MxFp8GemmNt(MxFp8, _FineGrainedGemm):
    """MXFP8: one power of two for each 32 columns of both operands."""

    name = "mxfp8_gemm_nt"
    summary = "dense MXFP8 GEMM, recipe (1, 1, 32), packed scale factors"
    dimensions = (N, MxFp8.k_dimension, compiled_dims.DENSE)
    function_names = ("fp8_gemm_nt", "fp8_fp4_gemm_nt")
    proof = Proof(examples=({"n": 256, "k": 512}, {"n": 200, "k": 144}))


class Fp8Fp4GemmNt(Fp8ByFp4, _FineGrainedGemm):
    """FP8 activations (128 columns a scale factor) by FP4 weights (32 columns a scale factor)."""

    name = "fp8_fp4_gemm_nt"
    summary = "dense FP8 x FP4 GEMM: FP8 activations, FP4 weights, packed scale factors"
    dimensions = (N, Fp8ByFp4.k_dimension, compiled_dims.DENSE)
    function_names = ("fp8_fp4_gemm_nt",)
    proof = Proof(examples=({"n": 256, "k": 512}, {"n": 200, "k": 640}))


class Fp4GemmNt(Fp4, _FineGrainedGemm):
    """FP4 activations by FP4 weights, 32 columns a scale factor."""

    name = "fp4_gemm_nt"
    summary = "dense FP4 x FP4 GEMM, recipe (1, 1, 32), packed scale factors"
    dimensions = (N, Fp4.k_dimension, compiled_dims.DENSE)
    function_names = ("fp4_gemm_nt", "fp8_fp4_gemm_nt")
    proof = Proof(examples=({"n": 256, "k": 512}, {"n": 200, "k": 640}))
