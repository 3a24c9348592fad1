"""``k_grouped_fp4_gemm_nt_contiguous``: weight gradients of FP4 experts on SM100, operands stored row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from kregistry import (
    NUM_SMS,
    ArchSupport,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    Proof,
    RunDimension,
    Shape,
    ShapeError,
    Value,
)
from kregistry_plugins import compiled_dims
from kregistry_plugins.contiguous_rows import GROUPS
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.fp8_gemm.dense import Operand, scale_form
from kregistry_plugins.k_grouped.base import (
    ACCUMULATE,
    GROUP_ALIGNMENT,
    OUTPUT,
    PSUM,
    QUANTISED,
    KGroupedGemm,
    call_at,
    common_buffers,
    group_sizes,
    rows_dimension,
)
from kregistry_plugins.k_grouped.fp8_tn import SCALES

if TYPE_CHECKING:
    import torch

_SCALE_ROWS = 32
#: Groups are whole blocks of this many rows (``k_alignment % 256 == 0``, gemm.hpp): no scale factor straddles two.
_ALIGNMENT = 256
#: The kernel that packs f32 scale factors takes no more (smxx_layout.hpp).
_MAX_PACKED_GROUPS = 128


class KGroupedFp4GemmNtContiguous(KGroupedGemm):
    """a [m, k / 2], b [n, k / 2], int8, two FP4 rows of the sum to a byte; d [num_groups, m, n].

    ``sfa`` is [k / 32, m] f32, or [k / 128, m] int32 with four UE8M0 exponents each; ``sfb`` likewise with n.
    """

    name = "k_grouped_fp4_gemm_nt_contiguous"
    summary = "k-grouped FP4 GEMM, K-major operands, accumulated (MoE weight gradients on sm100)"
    dimensions = (
        GROUPS,
        rows_dimension("m", 4),
        rows_dimension("n", 4),
        SCALES,
        OUTPUT,
        evolve(ACCUMULATE, meaning="whether c is given and added to", needs={}),
        PSUM,
        compiled_dims.K_GROUPED,
    )
    settings = (
        evolve(GROUP_ALIGNMENT, choices=tuple(range(_ALIGNMENT, 4 * _ALIGNMENT + 1, _ALIGNMENT)), default=_ALIGNMENT),
        NUM_SMS,
        *compiled_dims.SETTINGS,
    )
    run_dimension = RunDimension(
        name="k",
        meaning="rows of all groups together: the dimension summed over",
        unit="rows",
        start=_ALIGNMENT,
        step=_ALIGNMENT,
    )
    function_names = ("k_grouped_fp4_gemm_nt_contiguous",)
    signature = evolve(QUANTISED, text=QUANTISED.text.replace("(1, 1, 128)", "(1, 1, 32)"))
    archs = (
        ArchSupport("sm90", "none", "DeepGEMM asserts: FP4 operands need sm100 or sm120 (layout.hpp)"),
        ArchSupport("sm100", ">=0.2", "DeepGEMM 0.1 has no k-grouped FP4 GEMM"),
        ArchSupport(
            "sm120", "none", "DeepGEMM has scale factors of k-grouped GEMMs for sm90 and sm100 only (layout.hpp)"
        ),
    )
    proof = Proof(
        examples=(
            {"num_groups": 4, "m": 128, "n": 256},
            {"num_groups": 3, "m": 76, "n": 136, "output": "bfloat16"},
            {"num_groups": 2, "m": 64, "n": 68, "scales": "ue8m0", "use_psum_layout": True},
        )
    )

    def check(self, shape: Shape) -> None:
        super().check(shape)
        if shape.output == "bfloat16" and shape.n % 8:
            raise ShapeError(self.name, "n", f"expected a multiple of 8 with bfloat16 output, got {shape.n}")
        if shape.scales == "f32" and shape.num_groups > _MAX_PACKED_GROUPS:
            text = f"{shape.num_groups} is more than the {_MAX_PACKED_GROUPS} that DeepGEMM packs scale factors of"
            raise ShapeError(self.name, "num_groups", text, "say scales: ue8m0")

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        rows, factors = sum(group_sizes(shape, max_m)), _factor_rows(shape, max_m)
        dtype = "float32" if shape.scales == "f32" else "int32"
        return {
            # Flat: the whole of an operand is contiguous at every k.
            "a": BufferSpec((shape.m * rows // 2,), "int8"),
            "sfa": BufferSpec((factors, shape.m), dtype, initial=scales.UNIT_SCALE),
            "b": BufferSpec((shape.n * rows // 2,), "int8"),
            "sfb": BufferSpec((factors, shape.n), dtype, initial=scales.UNIT_SCALE),
            **common_buffers(shape, shape.output, max_m),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        if shape.scales != "f32":
            return 0
        return int(max_m // (4 * _SCALE_ROWS) * 4 * (shape.m + shape.n))

    def arguments(self, buffers: Buffers, m: int) -> Call:
        a, b = ((data, factors.T) for data, factors in (_operand(buffers, name, m) for name in ("a", "b")))
        return call_at(buffers, m, a, b, use_psum_layout=buffers.shape.use_psum_layout)

    def read_m(self, a: Operand, *args: Any, **kwargs: Any) -> int:
        return 2 * a[0].shape[1]

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {**super().shape_of(call), "scales": scale_form(call.a[1])}

    def store(self, buffers: Buffers, name: str, rows: slice, values: torch.Tensor) -> None:
        scales.quantize_rows(values.T, *_operand(buffers, name, rows.stop), _SCALE_ROWS, scales.packs(buffers.shape))

    def load(self, buffers: Buffers, name: str, rows: slice) -> torch.Tensor:
        return scales.dequantize(*_operand(buffers, name, rows.stop), _SCALE_ROWS).T


def _factor_rows(shape: Shape, k: int) -> int:
    """Rows of the scale factors of a launch at ``k``."""
    return k // (_SCALE_ROWS * (1 if shape.scales == "f32" else 4))


def _operand(buffers: Buffers, name: str, k: int) -> Operand:
    """An operand [columns, k / 2] and its scale factors [columns, rows of factors] at ``k``: views.

    The one group that has rows on SM100 is the first, so they are those of the group too.
    """
    columns = buffers.shape.m if name == "a" else buffers.shape.n
    data = buffers.tensors[name].view(-1)[: columns * k // 2].view(columns, k // 2)
    return data, buffers.tensors[f"sf{name}"][: _factor_rows(buffers.shape, k)].T
