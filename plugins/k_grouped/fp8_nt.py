"""``k_grouped_fp8_gemm_nt_contiguous``: weight gradients of FP8 experts on SM90, operands stored group by group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kregistry import NUM_SMS, ArchSupport, Arguments, Buffers, BufferSpec, Call, Proof, Shape, Value
from kregistry_plugins import calls, compiled_dims
from kregistry_plugins.contiguous_rows import GROUPS
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.fp8_gemm.dense import Operand
from kregistry_plugins.k_grouped.base import (
    QUANTISED,
    KGroupedGemm,
    call_at,
    common_buffers,
    group_sizes,
    rows_dimension,
)

if TYPE_CHECKING:
    import torch

_NO_OTHER = "only sm90 has k-grouped FP8 kernels with K-major operands; {arch} has k_grouped_fp8_gemm_tn_contiguous"
#: Bytes of the tensor maps that each SM keeps for itself.
_TENSOR_MAPS = 4 * 128


class KGroupedFp8GemmNtContiguous(KGroupedGemm):
    """a flat: [m, rows] of each group one after another, b likewise, d [num_groups, m, n] in FP32."""

    name = "k_grouped_fp8_gemm_nt_contiguous"
    summary = "k-grouped FP8 GEMM, K-major operands, accumulated into FP32 (MoE weight gradients on sm90)"
    dimensions = (GROUPS, rows_dimension("m", 4), rows_dimension("n", 4), compiled_dims.K_GROUPED)
    settings = (NUM_SMS, *compiled_dims.SETTINGS)
    function_names = ("k_grouped_fp8_gemm_nt_contiguous",)
    signature = QUANTISED
    archs = (
        ArchSupport("sm90"),
        ArchSupport("sm100", "none", _NO_OTHER.format(arch="sm100")),
        ArchSupport("sm120", "none", "DeepGEMM has no k-grouped FP8 GEMM for sm120 (layout.hpp)"),
    )
    proof = Proof(
        examples=(
            {"num_groups": 4, "m": 128, "n": 256},
            {"num_groups": 3, "m": 76, "n": 132},
            {"num_groups": 1, "m": 64, "n": 64},
        )
    )

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        rows = sum(group_sizes(shape, max_m))
        return {
            "a": BufferSpec((rows * shape.m,), "float8_e4m3fn"),
            "sfa": BufferSpec((rows // scales.GROUP, shape.m), "float32", initial=scales.UNIT_SCALE),
            "b": BufferSpec((rows * shape.n,), "float8_e4m3fn"),
            "sfb": BufferSpec((rows // scales.GROUP, shape.n), "float32", initial=scales.UNIT_SCALE),
            **common_buffers(shape, "float32", max_m),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        return _TENSOR_MAPS * shape.target.num_sms

    def arguments(self, buffers: Buffers, m: int) -> Call:
        rows = sum(group_sizes(buffers.shape, m))
        a = (buffers.a[: rows * buffers.shape.m], buffers.sfa[: rows // scales.GROUP].T)
        b = (buffers.b[: rows * buffers.shape.n], buffers.sfb[: rows // scales.GROUP].T)
        return call_at(buffers, m, a, b)

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        calls.belongs(self.name, "c", None if call.c is None else "a tensor", ("a tensor",))
        groups, m, n = call.d.shape
        return {"num_groups": groups, "m": m, "n": n, **compiled_dims.read(call, compiled_dims.K_GROUPED)}

    def store(self, buffers: Buffers, name: str, rows: slice, values: torch.Tensor) -> None:
        data, factors = _operand(buffers, name, rows)
        scales.quantize_rows(values.T, data, factors)

    def load(self, buffers: Buffers, name: str, rows: slice) -> torch.Tensor:
        return scales.dequantize(*_operand(buffers, name, rows)).T


def _operand(buffers: Buffers, name: str, rows: slice) -> Operand:
    """One group's operand [columns, rows] and its scale factors [columns, rows / 128]: views."""
    factors = buffers.tensors[f"sf{name}"]
    columns = factors.shape[1]
    data = buffers.tensors[name][rows.start * columns : rows.stop * columns].view(columns, -1)
    return data, factors[rows.start // scales.GROUP : rows.stop // scales.GROUP].T
