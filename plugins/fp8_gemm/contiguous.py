"""``m_grouped_fp8_gemm_nt_contiguous`` and ``nn``: one GEMM for each expert, the rows of all experts in one buffer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from kregistry import Buffers, BufferSpec, Call, Dimension, KernelType, RunDimension, Shape, Value
from kregistry_plugins import contiguous_rows, settings
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.fp8_gemm.dense import (
    ARCHS,
    K,
    N,
    Operand,
    check_fp8_operands,
    fill_rows,
    fill_weight,
    scale_form,
)
from kregistry_plugins.fp8_gemm.transposed import MAJOR, check_major

if TYPE_CHECKING:
    import torch

GROUPS = Dimension("num_groups", "experts on this rank", "groups")
RUN = RunDimension("m", "rows of all groups together, each group aligned", "rows", 128, 128)


class _MGroupedFp8GemmContiguous(KernelType):
    """Grouped FP8 GEMM of a mixture-of-experts prefill: rows sorted by expert, each expert's rows aligned."""

    run_dimension = RUN
    archs = ARCHS
    handles_empty = ""

    def check(self, shape: Shape) -> None:
        scales.check_scales(self.name, shape)

    def scope(self, shape: Shape) -> Any:
        return settings.mk_alignment(shape)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        groups, n, k = shape.num_groups, shape.n, shape.k
        return {
            "a": BufferSpec((max_m, k), "float8_e4m3fn"),
            "sfa": scales.row_scales(shape.scales, max_m, k),
            "b": BufferSpec(self._stored_weight(shape), "float8_e4m3fn", "weight"),
            "sfb": scales.weight_scales(shape.scales, n, k, groups),
            "d": BufferSpec((max_m, n), "bfloat16", "output"),
            "grouped_layout": BufferSpec((max_m,), "int32", initial=0),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        return scales.conversion_workspace(shape, max_m, groups=shape.num_groups)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        activations = (buffers.a[:m], scales.rows_of(buffers.sfa, m))
        return Call((activations, self._weights(buffers), buffers.d[:m], buffers.grouped_layout[:m]))

    def read_m(self, a: Operand, b: Operand, d: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        return d.shape[0]

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:m]}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        fill_rows(buffers.a[:m], scales.rows_of(buffers.sfa, m), generator)
        fill_weight(self._row_major_weight(buffers), buffers.sfb, generator)
        contiguous_rows.fill_groups(buffers.grouped_layout, buffers.shape, m)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        a = scales.dequantize(buffers.a[:m], scales.rows_of(buffers.sfa, m))
        b = self._row_major_weight(buffers)
        d = torch.empty(buffers.d[:m].shape, device=a.device)
        for rows, group in contiguous_rows.blocks(buffers.shape, m):
            d[rows] = a[rows] @ scales.dequantize(b[group], buffers.sfb[group]).T
        return {"d": d}

    def _stored_weight(self, shape: Shape) -> tuple[int, ...]:
        return shape.num_groups, shape.n, shape.k

    def _row_major_weight(self, buffers: Buffers) -> torch.Tensor:
        """b [num_groups, n, k]: a view, whatever the storage."""
        b: torch.Tensor = buffers.b
        return b

    def _weights(self, buffers: Buffers) -> Operand:
        """The weights as the function wants them."""
        return buffers.b, buffers.sfb


class MGroupedFp8GemmNtContiguous(_MGroupedFp8GemmContiguous):
    """b [num_groups, n, k]."""

    name = "m_grouped_fp8_gemm_nt_contiguous"
    summary = "grouped FP8 GEMM, rows of all groups contiguous (MoE prefill)"
    dimensions = (GROUPS, N, K, scales.SCALES, settings.MK_ALIGNMENT)
    function_names = ("m_grouped_fp8_gemm_nt_contiguous", "m_grouped_fp8_fp4_gemm_nt_contiguous")
    examples = (
        {"num_groups": 4, "n": 256, "k": 512},
        {"num_groups": 3, "n": 72, "k": 144},
        {"num_groups": 2, "n": 64, "k": 128, "mk_alignment": 64},
    )

    def read_shape(
        self,
        a: Operand,
        b: Operand,
        d: torch.Tensor,
        grouped_layout: torch.Tensor,
        recipe: Collection[int] | None = None,
        recipe_a: Collection[int] | None = None,
        recipe_b: Collection[int] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Mapping[str, Value]:
        check_fp8_operands(self.name, a, b, d, recipe, recipe_a, recipe_b)
        groups, n, k = b[0].shape
        alignment = settings.current_mk_alignment()
        return {"num_groups": groups, "n": n, "k": k, "scales": scale_form(a[1]), "mk_alignment": alignment}


class MGroupedFp8GemmNnContiguous(_MGroupedFp8GemmContiguous):
    """b [num_groups, k, n]: on SM90 a transposed view of [num_groups, n, k], elsewhere also stored so."""

    name = "m_grouped_fp8_gemm_nn_contiguous"
    summary = "grouped FP8 GEMM, rows of all groups contiguous, b num_groups x k x n (input gradients)"
    dimensions = (GROUPS, N, K, scales.SCALES, MAJOR, settings.MK_ALIGNMENT)
    function_names = ("m_grouped_fp8_gemm_nn_contiguous", "m_grouped_fp8_fp4_gemm_nn_contiguous")
    examples = (
        {"num_groups": 4, "n": 256, "k": 512},
        {"num_groups": 3, "n": 80, "k": 144},
        {"num_groups": 3, "n": 72, "k": 144, "major": "k"},
    )

    def check(self, shape: Shape) -> None:
        super().check(shape)
        check_major(self.name, shape, b_transposed=True)

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        # SM120 copies a weight that is not K-major.
        copied = shape.num_groups * shape.n * shape.k if shape.target.arch == "sm120" and shape.major == "mn" else 0
        return copied + super().workspace_requirement(shape, max_m)

    def read_shape(
        self,
        a: Operand,
        b: Operand,
        d: torch.Tensor,
        grouped_layout: torch.Tensor,
        recipe: Collection[int] | None = None,
        recipe_a: Collection[int] | None = None,
        recipe_b: Collection[int] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Mapping[str, Value]:
        check_fp8_operands(self.name, a, b, d, recipe, recipe_a, recipe_b)
        groups, k, n = b[0].shape
        return {
            "num_groups": groups,
            "n": n,
            "k": k,
            "scales": scale_form(a[1]),
            "major": "mn" if b[0].stride(-1) == 1 else "k",
            "mk_alignment": settings.current_mk_alignment(),
        }

    def _stored_weight(self, shape: Shape) -> tuple[int, ...]:
        groups, n, k = super()._stored_weight(shape)
        return (groups, k, n) if shape.major == "mn" else (groups, n, k)

    def _row_major_weight(self, buffers: Buffers) -> torch.Tensor:
        b: torch.Tensor = buffers.b
        return b.mT if buffers.shape.major == "mn" else b

    def _weights(self, buffers: Buffers) -> Operand:
        return self._row_major_weight(buffers).mT, buffers.sfb.mT
