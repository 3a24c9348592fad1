"""``m_grouped_*_gemm_nt_contiguous`` and ``nn``: one GEMM for each expert, the rows of all experts in one buffer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kregistry import MK_ALIGNMENT, NUM_SMS, Arguments, Buffers, BufferSpec, Call, Gemm, Proof, Shape, Signature, Value
from kregistry_plugins import calls, compiled_dims, contiguous_rows
from kregistry_plugins.contiguous_rows import GROUPS
from kregistry_plugins.fp8_gemm import fp4, scales
from kregistry_plugins.fp8_gemm.dense import N, Operand, fill_rows, fill_weight
from kregistry_plugins.fp8_gemm.precision import Fp4, Fp8, Fp8ByFp4, MxFp8, Precision
from kregistry_plugins.fp8_gemm.transposed import MAJOR, check_major

if TYPE_CHECKING:
    import torch


class _Contiguous(Precision, Gemm):
    """Grouped GEMM of a mixture-of-experts prefill: rows sorted by expert, each expert's rows aligned."""

    settings = (MK_ALIGNMENT, NUM_SMS, *compiled_dims.SETTINGS)
    run_dimension = contiguous_rows.RUN
    signature = Signature(
        "a, b, d, grouped_layout, recipe=None, recipe_a=None, recipe_b=None, compiled_dims='nk', "
        "disable_ue8m0_cast=False, use_psum_layout=False, ensure_zero_padding=True, expected_m_for_psum_layout=None"
    )

    without_effect = calls.NO_CAST

    def check(self, shape: Shape) -> None:
        self.check_precision(shape)
        contiguous_rows.check_layout(self.name, shape)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {
            **self.activations(shape, max_m),
            **self.weights(shape, shape.num_groups),
            "d": BufferSpec((max_m, shape.n), "bfloat16", "output"),
            "grouped_layout": contiguous_rows.layout_spec(shape, max_m),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        return self.conversion_workspace(shape, max_m)

    def linear_arguments(self, shape: Shape) -> bool:
        return scales.rows_are_linear(shape) and contiguous_rows.is_linear(shape)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        activations = (buffers.a[:m], scales.rows_of(buffers.sfa, m))
        layout = contiguous_rows.layout_of(buffers, m)
        compiled = compiled_dims.keywords(buffers.shape, compiled_dims.GROUPED)
        keywords = {**self.keywords, **contiguous_rows.keywords(buffers.shape, m), **compiled}
        return Call((activations, self.given_weights(buffers), buffers.d[:m], layout), keywords)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        fill_rows(buffers.a[:m], scales.rows_of(buffers.sfa, m), generator, buffers.shape, self.a_group)
        self.fill_weights(buffers, generator)
        contiguous_rows.fill_groups(buffers, m, generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        a = scales.dequantize(buffers.a[:m], scales.rows_of(buffers.sfa, m), self.a_group)
        d = torch.zeros(buffers.d[:m].shape, device=a.device)
        for rows, group in contiguous_rows.groups_of(buffers, m):
            weight = self.row_major(buffers, buffers.b[group])
            d[rows] = a[rows] @ scales.dequantize(weight, buffers.sfb[group], self.b_group).T
        return {"d": d}

    def given_weights(self, buffers: Buffers) -> Operand:
        """The weights as the function wants them."""
        return buffers.b, buffers.sfb

    def fill_weights(self, buffers: Buffers, generator: torch.Generator) -> None:
        fill_weight(buffers.b, buffers.sfb, generator, buffers.shape, self.b_group)

    def row_major(self, buffers: Buffers, weight: torch.Tensor) -> torch.Tensor:
        """A weight as [n, k], whatever its storage."""
        return weight


class _NtContiguous(_Contiguous):
    """b [num_groups, n, k]."""

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        self.check_operands(call)
        groups, n, columns = call.b[0].shape
        return {
            "num_groups": groups,
            "n": n,
            "k": columns * 2 if self.b_fp4 else columns,
            **self.scale_values(call.a),
            **contiguous_rows.read_layout(call, contiguous_rows.NT_LAYOUT),
            **compiled_dims.read(call, compiled_dims.GROUPED),
        }


class _NnContiguous(_Contiguous):
    """b [num_groups, k, n]: on SM90 a transposed view of [num_groups, n, k], elsewhere also stored so."""

    def check(self, shape: Shape) -> None:
        super().check(shape)
        check_major(self.name, shape, b_transposed=True, grain=128 if self.b_fp4 else 16)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        declared = dict(super().buffers(shape, max_m))
        if shape.major == "mn":
            declared["b"] = scales.operand((shape.k, shape.n), self.b_fp4, shape.num_groups, "weight")
        return declared

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        copied = 0
        if shape.target.arch == "sm120" and shape.major == "mn":
            # It copies a weight that is not K-major; one of FP4 through a byte for each value (measured: 5 at once).
            copied = shape.num_groups * shape.n * shape.k * (5 if self.b_fp4 else 1)
        return copied + super().workspace_requirement(shape, max_m)

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        self.check_operands(call)
        groups, rows, columns = call.b[0].shape
        major = "mn" if call.b[0].stride(-1) == 1 else "k"
        return {
            "num_groups": groups,
            "n": columns * 2 if self.b_fp4 and major == "mn" else columns,
            "k": rows * 2 if self.b_fp4 and major == "k" else rows,
            **self.scale_values(call.a),
            "major": major,
            **contiguous_rows.read_layout(call, contiguous_rows.LAYOUT),
            **compiled_dims.read(call, compiled_dims.GROUPED),
        }

    def given_weights(self, buffers: Buffers) -> Operand:
        return buffers.b if buffers.shape.major == "mn" else buffers.b.mT, buffers.sfb.mT

    def fill_weights(self, buffers: Buffers, generator: torch.Generator) -> None:
        row_major = self.row_major(buffers, buffers.b)
        fill_weight(row_major, buffers.sfb, generator, buffers.shape, self.b_group)
        if buffers.shape.major == "mn" and self.b_fp4:
            buffers.b.copy_(fp4.transpose(row_major))

    def row_major(self, buffers: Buffers, weight: torch.Tensor) -> torch.Tensor:
        if buffers.shape.major == "k":
            return weight
        return fp4.transpose(weight) if self.b_fp4 else weight.mT


class MGroupedFp8GemmNtContiguous(Fp8, _NtContiguous):
    """b [num_groups, n, k]."""

    name = "m_grouped_fp8_gemm_nt_contiguous"
    summary = "grouped FP8 GEMM, rows of all groups contiguous (MoE prefill)"
    dimensions = (GROUPS, N, Fp8.k_dimension, *Fp8.scale_dimensions, *contiguous_rows.NT_LAYOUT, compiled_dims.GROUPED)
    function_names = ("m_grouped_fp8_gemm_nt_contiguous", "m_grouped_fp8_fp4_gemm_nt_contiguous")
    proof = Proof(
        examples=(
            {"num_groups": 4, "n": 256, "k": 512},
            {"num_groups": 3, "n": 72, "k": 144},
            {"num_groups": 2, "n": 64, "k": 128, "mk_alignment": 64},
            {"num_groups": 3, "n": 64, "k": 128, "use_psum_layout": True},
            {"num_groups": 2, "n": 64, "k": 128, "use_psum_layout": True, "expected_m_for_psum_layout": 64},
        )
    )


class MGroupedFp8GemmNnContiguous(Fp8, _NnContiguous):
    """b [num_groups, k, n]."""

    name = "m_grouped_fp8_gemm_nn_contiguous"
    summary = "grouped FP8 GEMM, rows of all groups contiguous, b num_groups x k x n (input gradients)"
    dimensions = (
        GROUPS,
        N,
        Fp8.k_dimension,
        *Fp8.scale_dimensions,
        MAJOR,
        *contiguous_rows.LAYOUT,
        compiled_dims.GROUPED,
    )
    function_names = ("m_grouped_fp8_gemm_nn_contiguous", "m_grouped_fp8_fp4_gemm_nn_contiguous")
    proof = Proof(
        examples=(
            {"num_groups": 4, "n": 256, "k": 512},
            {"num_groups": 3, "n": 80, "k": 144},
            {"num_groups": 3, "n": 72, "k": 144, "major": "k"},
            {"num_groups": 3, "n": 64, "k": 128, "use_psum_layout": True, "ensure_zero_padding": False},
        )
    )


class MGroupedMxFp8GemmNtContiguous(MxFp8, _NtContiguous):
    """MXFP8: one power of two for each 32 columns of both operands."""

    name = "m_grouped_mxfp8_gemm_nt_contiguous"
    summary = "grouped MXFP8 GEMM, recipe (1, 1, 32), rows of all groups contiguous"
    dimensions = (GROUPS, N, MxFp8.k_dimension, *contiguous_rows.NT_LAYOUT, compiled_dims.GROUPED)
    function_names = ("m_grouped_fp8_gemm_nt_contiguous", "m_grouped_fp8_fp4_gemm_nt_contiguous")
    proof = Proof(examples=({"num_groups": 4, "n": 256, "k": 512}, {"num_groups": 3, "n": 72, "k": 144}))


class MGroupedFp8Fp4GemmNtContiguous(Fp8ByFp4, _NtContiguous):
    """FP8 activations by FP4 weights."""

    name = "m_grouped_fp8_fp4_gemm_nt_contiguous"
    summary = "grouped FP8 x FP4 GEMM, rows of all groups contiguous (MoE prefill)"
    dimensions = (GROUPS, N, Fp8ByFp4.k_dimension, *contiguous_rows.NT_LAYOUT, compiled_dims.GROUPED)
    # Names of one function: SGLang calls FP4 weights by the second.
    function_names = ("m_grouped_fp8_fp4_gemm_nt_contiguous", "m_grouped_fp8_gemm_nt_contiguous")
    proof = Proof(
        examples=(
            {"num_groups": 4, "n": 256, "k": 512},
            {"num_groups": 3, "n": 72, "k": 640, "mk_alignment": 64},
            {"num_groups": 3, "n": 64, "k": 128, "use_psum_layout": True},
        )
    )


class MGroupedFp8Fp4GemmNnContiguous(Fp8ByFp4, _NnContiguous):
    """FP8 activations by FP4 weights [num_groups, k, n]."""

    name = "m_grouped_fp8_fp4_gemm_nn_contiguous"
    summary = "grouped FP8 x FP4 GEMM, rows of all groups contiguous, b num_groups x k x n"
    dimensions = (GROUPS, N, Fp8ByFp4.k_dimension, MAJOR, *contiguous_rows.LAYOUT, compiled_dims.GROUPED)
    function_names = ("m_grouped_fp8_fp4_gemm_nn_contiguous",)
    proof = Proof(examples=({"num_groups": 4, "n": 256, "k": 512}, {"num_groups": 3, "n": 72, "k": 128, "major": "k"}))


class MGroupedFp4GemmNtContiguous(Fp4, _NtContiguous):
    """FP4 activations by FP4 weights."""

    name = "m_grouped_fp4_gemm_nt_contiguous"
    summary = "grouped FP4 x FP4 GEMM, rows of all groups contiguous (MoE prefill)"
    dimensions = (GROUPS, N, Fp4.k_dimension, *contiguous_rows.NT_LAYOUT, compiled_dims.GROUPED)
    function_names = ("m_grouped_fp4_gemm_nt_contiguous", "m_grouped_fp8_fp4_gemm_nt_contiguous")
    proof = Proof(examples=({"num_groups": 4, "n": 256, "k": 512}, {"num_groups": 3, "n": 72, "k": 640}))
