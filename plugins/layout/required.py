"""``transform_sf_into_required_layout``: FP32 scale factors as the GEMMs of this GPU want them.

Engines call it for weights when they load a model. Scale factors by row are transposed on SM90, packed elsewhere;
those of blocks stay as they are on SM90 and are repeated for every row, then packed, elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kregistry import (
    ArchSupport,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    Choice,
    Flag,
    KernelType,
    Proof,
    Shape,
    ShapeError,
    Signature,
    Size,
    Value,
)
from kregistry_plugins import calls
from kregistry_plugins.fp8_gemm.scales import UNIT_SCALE, ceil_div
from kregistry_plugins.layout import scale_factors
from kregistry_plugins.layout.scale_factors import EXACT, ROWS

if TYPE_CHECKING:
    import torch


class TransformSfIntoRequiredLayout(KernelType):
    """Claims calls with row-major FP32 scale factors; with others DeepGEMM only checks them, or torch copies them."""

    name = "transform_sf_into_required_layout"
    summary = "brings FP32 scale factors into the layout that the GEMMs of this GPU want"
    dimensions = (
        Size("k", "columns of the operand that the scale factors are for", "columns"),
        Choice("rows_per_scale", "1, or the height of a block", (1, 32, 128), unit="rows", default=1),
        Choice("columns_per_scale", "width of a group or block", (32, 128), unit="columns", default=128),
        Flag("disable_ue8m0_cast", "keep FP32 on every arch, as on SM90", default=False),
    )
    run_dimension = ROWS
    function_names = ("transform_sf_into_required_layout",)
    signature = Signature("sf, mn, k, recipe, num_groups=None, is_sfa=None, disable_ue8m0_cast=False, psum_layout=None")
    archs = (
        ArchSupport("sm90"),
        ArchSupport("sm100"),
        ArchSupport("sm120", ">=0.2", "DeepGEMM 0.1 asserts 'Unknown SF transformation' (layout.hpp:60) on sm120"),
    )
    proof = Proof(
        tolerance=EXACT,
        kernel_depends_on_m=False,
        examples=(
            {"k": 896},
            {"k": 144, "rows_per_scale": 128},
            {"k": 896, "disable_ue8m0_cast": True},
            {"k": 200, "columns_per_scale": 32},
            {"k": 200, "rows_per_scale": 32, "columns_per_scale": 32},
        ),
    )

    def check(self, shape: Shape) -> None:
        if shape.rows_per_scale not in (1, shape.columns_per_scale):
            text = f"blocks are square: expected 1 or {shape.columns_per_scale}, got {shape.rows_per_scale}"
            raise ShapeError(self.name, "rows_per_scale", text)
        if shape.columns_per_scale == 32:
            if shape.target.arch == "sm90":
                raise ShapeError(self.name, "columns_per_scale", "32 is refused on sm90 (DeepGEMM 0.1)", "say 128")
            if shape.disable_ue8m0_cast:
                text = "refused with columns_per_scale = 32: DeepGEMM 0.1 packs those always"
                raise ShapeError(self.name, "disable_ue8m0_cast", text)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        rows = ceil_div(max_m, shape.rows_per_scale)
        return {"sf": BufferSpec((rows, _columns(shape)), "float32", initial=UNIT_SCALE)}

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        """The result, and on the way from blocks to rows the repeated scale factors and an index of 8 bytes a row."""
        columns, rows = _columns(shape), shape.rows_per_scale == 1
        if not _packs(shape):
            return scale_factors.result_bytes(max_m, columns) if rows else 0
        result = scale_factors.result_bytes(max_m, ceil_div(columns, 4))
        return result if rows else 4 * max_m * columns + max(result, 8 * max_m)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        shape = buffers.shape
        recipe = (shape.rows_per_scale, shape.columns_per_scale)
        rows = ceil_div(m, shape.rows_per_scale)
        return Call((buffers.sf[:rows], m, shape.k, recipe), {"disable_ue8m0_cast": shape.disable_ue8m0_cast})

    def read_m(self, sf: torch.Tensor, mn: int, *args: Any, **kwargs: Any) -> int:
        return mn

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        calls.belongs(self.name, "sf.dtype", calls.dtype_of(call.sf), ("float32",))
        calls.belongs(self.name, "sf", "row-major" if call.sf.is_contiguous() else "strided", ("row-major",))
        calls.belongs(self.name, "psum_layout", None if call.psum_layout is None else "a tensor", (None,))
        *of_either, columns = call.recipe
        rows = of_either[0] if len(of_either) == 1 or call.is_sfa else of_either[1]
        return {
            "k": call.k,
            "rows_per_scale": rows,
            "columns_per_scale": columns,
            "disable_ue8m0_cast": call.disable_ue8m0_cast,
        }

    def empty_result(self, call: Arguments) -> torch.Tensor:
        import torch

        packs = call.sf.is_cuda and torch.cuda.get_device_capability(call.sf.device)[0] > 9
        if packs and not call.disable_ue8m0_cast:
            return call.sf.new_empty((0, ceil_div(call.sf.shape[1], 4)), dtype=torch.int32)
        return call.sf

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        scale_factors.fill_powers_of_two(self.arguments(buffers, m).args[0], generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        shape, sf = buffers.shape, self.arguments(buffers, m).args[0]
        if _packs(shape):
            return {"exponents": scale_factors.exponents_of(sf.repeat_interleave(shape.rows_per_scale, 0)[:m])}
        return {"exponents": scale_factors.exponent_bytes(sf.T if shape.rows_per_scale == 1 else sf)}

    def returned(self, value: torch.Tensor, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        shape = buffers.shape
        if _packs(shape):
            return {"exponents": scale_factors.exponents(value, m, _columns(shape))}
        if shape.rows_per_scale == 1:
            value = scale_factors.transposed(value, m, _columns(shape))
        return {"exponents": scale_factors.exponent_bytes(value)}


def _columns(shape: Shape) -> int:
    return ceil_div(shape.k, shape.columns_per_scale)


def _packs(shape: Shape) -> bool:
    return shape.target.arch != "sm90" and not shape.disable_ue8m0_cast
