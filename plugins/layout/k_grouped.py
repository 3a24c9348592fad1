"""``get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor``: packs the scale factors of a k-grouped GEMM.

Its input is MN-major by nature: [rows, mn], a row for every 128 of k, the rows of all groups one after another. Four
rows of a group become one row of int32; a group never shares a row with the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar

from attrs import evolve

from kregistry import (
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    KernelType,
    Proof,
    RunDimension,
    Shape,
    ShapeError,
    Signature,
    Size,
    Value,
)
from kregistry_plugins import contiguous_rows
from kregistry_plugins.fp8_gemm.scales import UNIT_SCALE, ceil_div
from kregistry_plugins.layout import scale_factors
from kregistry_plugins.layout.scale_factors import EVERY_ARCH, EXACT

if TYPE_CHECKING:
    import torch

#: Columns of k for each scale factor; 32 is possible too and uses the same kernels.
_GRANULARITY = 128
_MAX_GROUPS = 128

PSUM = evolve(
    contiguous_rows.PSUM, meaning="grouped_layout holds where each group ends in place of its size; another kernel"
)


class GetKGroupedMnMajorTmaAlignedPackedUe8m0Tensor(KernelType):
    """The launch gets the sizes of the groups twice: on the host, and on the device as ``grouped_layout``."""

    name = "get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor"
    summary = "packs the FP32 scale factors of a k-grouped GEMM to UE8M0"
    dimensions = (
        Size("num_groups", "groups, one kernel for each number, 128 at most", "groups"),
        Size("mn", "columns: rows of the operand that the scale factors are for", "columns", multiple_of=4),
        PSUM,
    )
    run_dimension = RunDimension("rows", "rows of all groups together: the sum of k / 128", "rows")
    function_names = ("get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor",)
    signature = Signature("sf, grouped_layout, ks, gran_k, k_alignment=None, use_psum_layout=False, *args, **kwargs")
    without_effect: ClassVar[Mapping[str, tuple[str, ...]]] = {"k_alignment": ()}
    archs = EVERY_ARCH
    proof = Proof(
        tolerance=EXACT,
        kernel_depends_on_m=False,
        examples=(
            {"num_groups": 4, "mn": 64},
            {"num_groups": 1, "mn": 20},
            {"num_groups": 5, "mn": 132, "use_psum_layout": True},
        ),
    )
    handles_empty = ""

    def check(self, shape: Shape) -> None:
        if shape.num_groups > _MAX_GROUPS:
            text = f"{shape.num_groups} is more than the {_MAX_GROUPS} that DeepGEMM takes"
            raise ShapeError(self.name, "num_groups", text)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {
            "sf": BufferSpec((max_m, shape.mn), "float32", initial=UNIT_SCALE),
            # The kernel of DeepGEMM 0.2 traps, and ends the context of the process, if the sizes do not add up to rows.
            "grouped_layout": BufferSpec(
                (shape.num_groups,), "int32", initial=_layout(shape, max_m), affects_results=False
            ),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        return 4 * shape.mn * sum(ceil_div(rows, 4) for rows in _rows_of_groups(shape, max_m))

    def arguments(self, buffers: Buffers, m: int) -> Call:
        shape = buffers.shape
        return Call(
            (
                buffers.sf[:m],
                buffers.grouped_layout,
                _sizes(shape, m),
                _GRANULARITY,
                _GRANULARITY,
                shape.use_psum_layout,
            )
        )

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"num_groups": len(call.grouped_layout), "mn": call.sf.shape[1], "use_psum_layout": call.use_psum_layout}

    def empty_result(self, call: Arguments) -> torch.Tensor:
        """Packed scale factors of no rows."""
        import torch

        return call.sf.new_empty((0, call.sf.shape[1]), dtype=torch.int32)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.grouped_layout.copy_(buffers.grouped_layout.new_tensor(_layout(buffers.shape, m)))
        scale_factors.fill_powers_of_two(buffers.sf[:m], generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        groups = buffers.sf[:m].split(_rows_of_groups(buffers.shape, m))
        return {"exponents": torch.cat([scale_factors.exponents_of(group.T) for group in groups if len(group)])}

    def returned(self, value: torch.Tensor, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"exponents": scale_factors.bytes_of(value)}


def _layout(shape: Shape, rows: int) -> tuple[int, ...]:
    """``grouped_layout`` of a launch: the columns of k of each group, or where each one ends."""
    sizes = _sizes(shape, rows)
    return tuple(accumulate(sizes) if shape.use_psum_layout else sizes)


def _sizes(shape: Shape, rows: int) -> list[int]:
    """Columns of k of each group."""
    return [_GRANULARITY * each for each in _rows_of_groups(shape, rows)]


def _rows_of_groups(shape: Shape, rows: int) -> list[int]:
    """Rows of each group: as even as can be, the first groups one more."""
    each, more = divmod(rows, shape.num_groups)
    return [each + (group < more) for group in range(shape.num_groups)]
