"""``m_grouped_fp8_gemm_nt_masked``: one GEMM for each expert, each with a buffer of its own, filled in part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kregistry import Buffers, BufferSpec, Call, KernelType, RunDimension, Shape, Value
from kregistry_plugins import settings
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.fp8_gemm.contiguous import GROUPS
from kregistry_plugins.fp8_gemm.dense import ARCHS, K, N, Operand, fill_rows, fill_weight, scale_form
from kregistry_plugins.masked_rows import rows_of_a_group

if TYPE_CHECKING:
    import torch


@settings.follows_num_sms
class MGroupedFp8GemmNtMasked(KernelType):
    """Grouped FP8 GEMM of a mixture-of-experts decode step.

    ``expected_m``, a hint on the host, chooses the kernel; the rows that count are in ``masked_m`` on the device,
    and the size of the buffers has no effect on the kernel.
    """

    name = "m_grouped_fp8_gemm_nt_masked"
    summary = "grouped FP8 GEMM, one buffer for each group, filled in part (MoE decode)"
    dimensions = (GROUPS, N, K, scales.SCALES)
    run_dimension = RunDimension("expected_m", "rows that a group is expected to hold", "rows")
    function_names = (
        "m_grouped_fp8_gemm_nt_masked",
        "fp8_m_grouped_gemm_nt_masked",
        "m_grouped_fp8_fp4_gemm_nt_masked",
    )
    archs = ARCHS
    examples = ({"num_groups": 4, "n": 256, "k": 512}, {"num_groups": 3, "n": 72, "k": 144})

    def check(self, shape: Shape) -> None:
        scales.check_scales(self.name, shape)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        groups, n, k = shape.num_groups, shape.n, shape.k
        rows = rows_of_a_group(max_m)
        return {
            "a": BufferSpec((groups, rows, k), "float8_e4m3fn"),
            "sfa": scales.row_scales(shape.scales, rows, k, groups),
            "b": BufferSpec((groups, n, k), "float8_e4m3fn", "weight"),
            "sfb": scales.weight_scales(shape.scales, n, k, groups),
            "d": BufferSpec((groups, rows, n), "bfloat16", "output"),
            "masked_m": BufferSpec((groups,), "int32", initial=0),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        rows = rows_of_a_group(max_m)
        return scales.conversion_workspace(shape, rows, groups=shape.num_groups, row_groups=shape.num_groups)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        weights = (buffers.b, buffers.sfb)
        return Call(((buffers.a, buffers.sfa), weights, buffers.d, buffers.masked_m, m))

    def read_m(
        self,
        a: Operand,
        b: Operand,
        d: torch.Tensor,
        masked_m: torch.Tensor,
        expected_m: int,
        *args: Any,
        **kwargs: Any,
    ) -> int:
        return expected_m if d.shape[1] else 0

    def read_shape(self, a: Operand, b: Operand, *args: Any, **kwargs: Any) -> Mapping[str, Value]:
        groups, n, k = b[0].shape
        return {"num_groups": groups, "n": n, "k": k, "scales": scale_form(a[1])}

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:, :m]}

    def writable(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d}  # whole tiles are stored: rows past masked_m are overwritten

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        fill_rows(buffers.a, buffers.sfa, generator)
        fill_weight(buffers.b, buffers.sfb, generator)
        buffers.masked_m.fill_(m)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        a = scales.dequantize(buffers.a, buffers.sfa)[:, :m]
        return {"d": a @ scales.dequantize(buffers.b, buffers.sfb).mT}
