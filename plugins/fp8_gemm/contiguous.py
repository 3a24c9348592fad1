"""``m_grouped_fp8_gemm_nt_contiguous``: one GEMM for each expert, the rows of all experts one after another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kregistry import Buffers, BufferSpec, Call, Dimension, KernelType, RunDimension, Shape, Value
from kregistry_plugins import settings
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.fp8_gemm.dense import ARCHS, K, N, Operand, fill_rows, fill_weight, scale_form

if TYPE_CHECKING:
    import torch

GROUPS = Dimension("num_groups", "experts on this rank", "groups")
#: DeepGEMM's default of ``get_mk_alignment_for_contiguous_layout()`` on every arch.
ALIGNMENT = 128


@settings.follows_num_sms
class MGroupedFp8GemmNtContiguous(KernelType):
    """Grouped FP8 GEMM of a mixture-of-experts prefill: rows sorted by expert, each expert's rows aligned to 128."""

    name = "m_grouped_fp8_gemm_nt_contiguous"
    summary = "grouped FP8 GEMM, rows of all groups contiguous (MoE prefill)"
    dimensions = (GROUPS, N, K, scales.SCALES)
    run_dimension = RunDimension("m", "rows of all groups together, each group aligned", "rows", ALIGNMENT, ALIGNMENT)
    function_names = ("m_grouped_fp8_gemm_nt_contiguous", "m_grouped_fp8_fp4_gemm_nt_contiguous")
    archs = ARCHS
    examples = ({"num_groups": 4, "n": 256, "k": 512}, {"num_groups": 3, "n": 72, "k": 144})
    handles_empty = ""

    def check(self, shape: Shape) -> None:
        scales.check_scales(self.name, shape)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        groups, n, k = shape.num_groups, shape.n, shape.k
        return {
            "a": BufferSpec((max_m, k), "float8_e4m3fn"),
            "sfa": scales.row_scales(shape.scales, max_m, k),
            "b": BufferSpec((groups, n, k), "float8_e4m3fn", "weight"),
            "sfb": scales.weight_scales(shape.scales, n, k, groups),
            "d": BufferSpec((max_m, n), "bfloat16", "output"),
            "grouped_layout": BufferSpec((max_m,), "int32", initial=0),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        return scales.conversion_workspace(shape, max_m, groups=shape.num_groups)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        activations = (buffers.a[:m], scales.rows_of(buffers.sfa, m))
        weights = (buffers.b, buffers.sfb)
        return Call((activations, weights, buffers.d[:m], buffers.grouped_layout[:m]))

    def read_m(self, a: Operand, b: Operand, d: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        return d.shape[0]

    def read_shape(self, a: Operand, b: Operand, d: torch.Tensor, *args: Any, **kwargs: Any) -> Mapping[str, Value]:
        groups, n, k = b[0].shape
        return {"num_groups": groups, "n": n, "k": k, "scales": scale_form(a[1])}

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:m]}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        fill_rows(buffers.a[:m], scales.rows_of(buffers.sfa, m), generator)
        fill_weight(buffers.b, buffers.sfb, generator)
        for block, group in enumerate(self._groups_of_blocks(buffers, m)):
            buffers.grouped_layout[block * ALIGNMENT : min(m, (block + 1) * ALIGNMENT)] = group

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        a = scales.dequantize(buffers.a[:m], scales.rows_of(buffers.sfa, m))
        d = torch.empty(buffers.d[:m].shape, device=a.device)
        for block, group in enumerate(self._groups_of_blocks(buffers, m)):
            rows = slice(block * ALIGNMENT, min(m, (block + 1) * ALIGNMENT))
            d[rows] = a[rows] @ scales.dequantize(buffers.b[group], buffers.sfb[group]).T
        return {"d": d}

    @staticmethod
    def _groups_of_blocks(buffers: Buffers, m: int) -> list[int]:
        """Which group owns each block of 128 rows: ascending, spread over all groups."""
        blocks = scales.ceil_div(m, ALIGNMENT)
        return [block * buffers.shape.num_groups // blocks for block in range(blocks)]
