"""``fp8_einsum("bhr,hdr->bhd")`` that quantises its output: what the next FP8 GEMM wants, without a kernel between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from kregistry import ArchSupport, Arguments, Buffers, BufferSpec, Shape, Value
from kregistry_plugins import calls
from kregistry_plugins.einsum.fp8 import SCALE_COLUMNS, SCALES, D, Fp8Einsum, H, R, output_form
from kregistry_plugins.fp8_gemm import scales

if TYPE_CHECKING:
    import torch

#: Columns of the output that share a scale factor.
_GROUP = 32
_ONLY = "DeepGEMM asserts: only sm100 quantises the output of an FP8 einsum (einsum.hpp)"


class Fp8EinsumBhrHdrBhdFp8Output(Fp8Einsum):
    """x [b, h, r] by y [h, d, r] to z [b, h, d] in FP8, with UE8M0 scale factors.

    ``sfz`` is int32 [b, h * d / 128], column-major, an exponent byte for each 32 columns of z as [b, h * d]: the form
    that MXFP8 GEMMs take. The kernel rounds to BF16 before it quantises.
    """

    name = "fp8_einsum_bhr_hdr_bhd_fp8_output"
    summary = "FP8 einsum bhr,hdr->bhd, the output quantised to FP8 by row and 32 columns (SM100)"
    expression = "bhr,hdr->bhd"
    summed, kept = "r", "d"
    dimensions = (H, R, evolve(D, multiple_of=128), SCALES, SCALE_COLUMNS)
    archs = (
        ArchSupport("sm90", "none", _ONLY),
        ArchSupport("sm100", ">=0.2", "DeepGEMM 0.1 has no FP8 einsum with FP8 output"),
        ArchSupport("sm120", "none", _ONLY),
    )
    proof = evolve(
        Fp8Einsum.proof,
        examples=(
            {"h": 4, "r": 512, "d": 256},
            {"h": 3, "r": 144, "d": 128},
            {"h": 2, "r": 256, "d": 384, "scales": "ue8m0"},
            {"h": 2, "r": 256, "d": 128, "scales": "ue8m0", "scale_columns": 32},
        ),
    )

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {
            **self.operand_buffers(shape, max_m),
            "z": BufferSpec((max_m, shape.h, shape.d), "float8_e4m3fn", "output"),
            "sfz": evolve(scales.row_scales("ue8m0", max_m, shape.h * shape.d, group=_GROUP), role="output"),
        }

    def output_at(self, buffers: Buffers, m: int) -> Any:
        return buffers.z[:m], scales.rows_of(buffers.sfz, m)

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        """Takes the calls that give FP8 and scale factors to write."""
        calls.belongs(self.name, "d", output_form(call.d), ("with scale factors",))
        return self.read_operands(call)

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"z": buffers.z[:m], "sfz": scales.rows_of(buffers.sfz, m)}

    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        rows, factors = self.output_at(buffers, m)
        return {"z": scales.dequantize(rows.flatten(1), factors, _GROUP).view(rows.shape)}
