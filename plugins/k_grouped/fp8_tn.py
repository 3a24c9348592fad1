"""``k_grouped_fp8_gemm_tn_contiguous``: weight gradients of FP8 experts on SM100."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kregistry import (
    ArchSupport,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    Choice,
    Proof,
    Shape,
    Value,
)
from kregistry_plugins import compiled_dims
from kregistry_plugins.contiguous_rows import GROUPS
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.fp8_gemm.dense import Operand, scale_form
from kregistry_plugins.k_grouped.base import (
    ACCUMULATE,
    OUTPUT,
    PSUM,
    QUANTISED,
    KGroupedGemm,
    call_at,
    common_buffers,
    group_sizes,
    rows_dimension,
)

if TYPE_CHECKING:
    import torch

SCALES = Choice(
    "scales",
    "form of the scale factors: f32, packed by a kernel on every call, or packed powers of two",
    ("f32", "ue8m0"),
    default="f32",
)
SCALE_ROWS = Choice(
    "scale_rows", "rows that share a scale factor: the last number of the recipe", (128, 32), unit="rows", default=128
)


class KGroupedFp8GemmTnContiguous(KGroupedGemm):
    """a [k, m], b [k, n], d [num_groups, m, n]; scale factors by column and 128 or 32 rows."""

    name = "k_grouped_fp8_gemm_tn_contiguous"
    summary = "k-grouped FP8 GEMM, MN-major operands, accumulated (MoE weight gradients on sm100)"
    dimensions = (
        GROUPS,
        rows_dimension("m", 16),
        rows_dimension("n", 16),
        SCALES,
        SCALE_ROWS,
        OUTPUT,
        ACCUMULATE,
        PSUM,
        compiled_dims.K_GROUPED,
    )
    function_names = ("k_grouped_fp8_gemm_tn_contiguous",)
    signature = QUANTISED
    archs = (
        ArchSupport(
            "sm90",
            "none",
            "sm90 has k-grouped FP8 kernels with K-major operands only: k_grouped_fp8_gemm_nt_contiguous",
        ),
        ArchSupport("sm100"),
        ArchSupport("sm120", "none", "DeepGEMM has no k-grouped FP8 GEMM for sm120 ('not yet ported', gemm.hpp)"),
    )
    proof = Proof(
        examples=(
            {"num_groups": 4, "m": 128, "n": 256},
            {"num_groups": 3, "m": 80, "n": 144, "scale_rows": 32, "output": "bfloat16"},
            {"num_groups": 2, "m": 64, "n": 64, "scales": "ue8m0", "mk_alignment": 64, "use_psum_layout": True},
        )
    )

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        rows = sum(group_sizes(shape, max_m))
        factors = _factor_rows(shape, max_m)
        dtype = "float32" if shape.scales == "f32" else "int32"
        return {
            "a": BufferSpec((rows, shape.m), "float8_e4m3fn"),
            "sfa": BufferSpec((factors, shape.m), dtype, initial=scales.UNIT_SCALE),
            "b": BufferSpec((rows, shape.n), "float8_e4m3fn"),
            "sfb": BufferSpec((factors, shape.n), dtype, initial=scales.UNIT_SCALE),
            **common_buffers(shape, shape.output, max_m),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        if shape.scales != "f32":
            return 0
        packed = sum(scales.ceil_div(size, 4 * shape.scale_rows) for size in group_sizes(shape, max_m))
        return 4 * packed * (shape.m + shape.n)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        rows, factors = sum(group_sizes(buffers.shape, m)), _factor_rows(buffers.shape, m)
        a = (buffers.a[:rows], buffers.sfa[:factors])
        b = (buffers.b[:rows], buffers.sfb[:factors])
        keywords = {"recipe": (1, 1, buffers.shape.scale_rows), "use_psum_layout": buffers.shape.use_psum_layout}
        return call_at(buffers, m, a, b, **keywords)

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {**super().shape_of(call), "scales": scale_form(call.a[1]), "scale_rows": tuple(call.recipe)[-1]}

    def store(self, buffers: Buffers, name: str, rows: slice, values: torch.Tensor) -> None:
        data, factors = _operand(buffers, name, rows)
        scales.quantize_rows(values.T, data, factors, buffers.shape.scale_rows, scales.packs(buffers.shape))

    def load(self, buffers: Buffers, name: str, rows: slice) -> torch.Tensor:
        return scales.dequantize(*_operand(buffers, name, rows), buffers.shape.scale_rows).T


def _factor_rows(shape: Shape, k: int) -> int:
    """Rows of the scale factors of a launch at ``k``: each group starts a row of its own."""
    packed = shape.scale_rows * (1 if shape.scales == "f32" else 4)
    return sum(scales.ceil_div(size, packed) for size in group_sizes(shape, k))


def _operand(buffers: Buffers, name: str, rows: slice) -> Operand:
    """One group's operand [columns, rows] and its scale factors [columns, rows of factors]: views.

    The one group that has rows on SM100 is the first.
    """
    factors = _factor_rows(buffers.shape, rows.stop)
    return buffers.tensors[name][rows].T, buffers.tensors[f"sf{name}"][:factors].T
