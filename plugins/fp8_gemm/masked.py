"""``m_grouped_*_gemm_nt_masked``: one GEMM for each expert, each with a buffer of its own, filled in part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kregistry import Arguments, Buffers, BufferSpec, Call, Proof, Shape, Signature, Value
from kregistry_plugins import calls, compiled_dims
from kregistry_plugins.contiguous_rows import GROUPS
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.fp8_gemm.dense import N, fill_rows, fill_weight
from kregistry_plugins.fp8_gemm.precision import Fp4, Fp8, Fp8ByFp4, MxFp8, Precision
from kregistry_plugins.masked_rows import MaskedGemm, fill_counts, masked, rows_of_a_group

if TYPE_CHECKING:
    import torch


class _NtMasked(Precision, MaskedGemm):
    """Quantised operands."""

    signature = Signature(
        "a, b, d, masked_m, expected_m, recipe=None, recipe_a=None, recipe_b=None, compiled_dims='nk', "
        "disable_ue8m0_cast=False, *args, **kwargs"
    )

    without_effect = calls.NO_CAST

    def check(self, shape: Shape) -> None:
        self.check_precision(shape)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        groups, rows = shape.num_groups, rows_of_a_group(max_m)
        return {
            **self.activations(shape, rows, groups),
            **self.weights(shape, groups),
            "d": BufferSpec((groups, rows, shape.n), "bfloat16", "output"),
            "masked_m": BufferSpec((groups,), "int32", initial=0),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        return self.conversion_workspace(shape, rows_of_a_group(max_m), row_groups=shape.num_groups)

    def linear_arguments(self, shape: Shape) -> bool:
        return True

    def arguments(self, buffers: Buffers, m: int) -> Call:
        a, b = (buffers.a, buffers.sfa), (buffers.b, buffers.sfb)
        keywords = {**self.keywords, **compiled_dims.keywords(buffers.shape, compiled_dims.GROUPED)}
        return Call((a, b, buffers.d, buffers.masked_m, m), keywords)

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        self.check_operands(call)
        groups, n, columns = call.b[0].shape
        return {
            "num_groups": groups,
            "n": n,
            "k": columns * 2 if self.b_fp4 else columns,
            **self.scale_values(call.a),
            **compiled_dims.read(call, compiled_dims.GROUPED),
        }

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        fill_rows(buffers.a, buffers.sfa, generator, buffers.shape, self.a_group)
        fill_weight(buffers.b, buffers.sfb, generator, buffers.shape, self.b_group)
        fill_counts(buffers.masked_m, m, generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        a = scales.dequantize(buffers.a, buffers.sfa, self.a_group)[:, :m]
        d = a @ scales.dequantize(buffers.b, buffers.sfb, self.b_group).mT
        return {"d": masked(d, buffers.masked_m)}


class MGroupedFp8GemmNtMasked(Fp8, _NtMasked):
    """FP8 with 128 columns a scale factor."""

    name = "m_grouped_fp8_gemm_nt_masked"
    summary = "grouped FP8 GEMM, one buffer for each group, filled in part (MoE decode)"
    dimensions = (GROUPS, N, Fp8.k_dimension, *Fp8.scale_dimensions, compiled_dims.GROUPED)
    function_names = (
        "m_grouped_fp8_gemm_nt_masked",
        "fp8_m_grouped_gemm_nt_masked",
        "m_grouped_fp8_fp4_gemm_nt_masked",
    )
    proof = Proof(examples=({"num_groups": 4, "n": 256, "k": 512}, {"num_groups": 3, "n": 72, "k": 144}))


class MGroupedMxFp8GemmNtMasked(MxFp8, _NtMasked):
    """MXFP8: one power of two for each 32 columns of both operands."""

    name = "m_grouped_mxfp8_gemm_nt_masked"
    summary = "grouped MXFP8 GEMM, recipe (1, 1, 32), one buffer for each group, filled in part"
    dimensions = (GROUPS, N, MxFp8.k_dimension, compiled_dims.GROUPED)
    function_names = MGroupedFp8GemmNtMasked.function_names
    proof = Proof(examples=({"num_groups": 4, "n": 256, "k": 512}, {"num_groups": 3, "n": 72, "k": 144}))


class MGroupedFp8Fp4GemmNtMasked(Fp8ByFp4, _NtMasked):
    """FP8 activations by FP4 weights."""

    name = "m_grouped_fp8_fp4_gemm_nt_masked"
    summary = "grouped FP8 x FP4 GEMM, one buffer for each group, filled in part (MoE decode)"
    dimensions = (GROUPS, N, Fp8ByFp4.k_dimension, compiled_dims.GROUPED)
    # Names of one function: SGLang calls FP4 weights by the second and third.
    function_names = (
        "m_grouped_fp8_fp4_gemm_nt_masked",
        "m_grouped_fp8_gemm_nt_masked",
        "fp8_m_grouped_gemm_nt_masked",
    )
    proof = Proof(examples=({"num_groups": 4, "n": 256, "k": 512}, {"num_groups": 3, "n": 72, "k": 640}))


class MGroupedFp4GemmNtMasked(Fp4, _NtMasked):
    """FP4 activations by FP4 weights."""

    name = "m_grouped_fp4_gemm_nt_masked"
    summary = "grouped FP4 x FP4 GEMM, one buffer for each group, filled in part (MoE decode)"
    dimensions = (GROUPS, N, Fp4.k_dimension, compiled_dims.GROUPED)
    function_names = ("m_grouped_fp4_gemm_nt_masked", "m_grouped_fp8_fp4_gemm_nt_masked")
    proof = Proof(examples=({"num_groups": 4, "n": 256, "k": 512}, {"num_groups": 3, "n": 72, "k": 640}))
