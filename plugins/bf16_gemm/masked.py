"""``m_grouped_bf16_gemm_nt_masked``: one BF16 GEMM for each expert, each with a buffer of its own, filled in part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kregistry import Buffers, BufferSpec, Call, KernelType, RunDimension, Shape, Value
from kregistry_plugins import settings
from kregistry_plugins.bf16_gemm.contiguous import N, check_k
from kregistry_plugins.bf16_gemm.dense import ARCHS, K
from kregistry_plugins.contiguous_rows import GROUPS
from kregistry_plugins.masked_rows import rows_of_a_group

if TYPE_CHECKING:
    import torch


@settings.follows_num_sms
class MGroupedBf16GemmNtMasked(KernelType):
    """Grouped BF16 GEMM of a mixture-of-experts decode step.

    ``expected_m`` chooses the kernel; on SM100 the alignment of contiguous layouts too.
    """

    name = "m_grouped_bf16_gemm_nt_masked"
    summary = "grouped BF16 GEMM, one buffer for each group, filled in part (MoE decode)"
    dimensions = (GROUPS, N, K, settings.MK_ALIGNMENT)
    run_dimension = RunDimension("expected_m", "rows that a group is expected to hold", "rows")
    raises_on_empty = ""  # it asserts expected_m > 0, and has no stride of a buffer without rows
    function_names = ("m_grouped_bf16_gemm_nt_masked", "bf16_m_grouped_gemm_nt_masked")
    archs = ARCHS
    examples = (
        {"num_groups": 4, "n": 256, "k": 512},
        {"num_groups": 3, "n": 72, "k": 192},
        {"num_groups": 3, "n": 72, "k": 136},
    )

    def check(self, shape: Shape) -> None:
        check_k(self.name, shape)

    def scope(self, shape: Shape) -> Any:
        return settings.mk_alignment(shape)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        groups, n, k = shape.num_groups, shape.n, shape.k
        rows = rows_of_a_group(max_m)
        return {
            "a": BufferSpec((groups, rows, k), "bfloat16"),
            "b": BufferSpec((groups, n, k), "bfloat16", "weight"),
            "d": BufferSpec((groups, rows, n), "bfloat16", "output"),
            "masked_m": BufferSpec((groups,), "int32", initial=0),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call((buffers.a, buffers.b, buffers.d, buffers.masked_m, m))

    def read_m(
        self,
        a: torch.Tensor,
        b: torch.Tensor,
        d: torch.Tensor,
        masked_m: torch.Tensor,
        expected_m: int,
        *args: Any,
        **kwargs: Any,
    ) -> int:
        return expected_m if d.shape[1] else 0

    def read_shape(self, a: torch.Tensor, b: torch.Tensor, *args: Any, **kwargs: Any) -> Mapping[str, Value]:
        groups, n, k = b.shape
        return {"num_groups": groups, "n": n, "k": k, "mk_alignment": settings.current_mk_alignment()}

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:, :m]}

    def writable(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d}  # whole tiles are stored: rows past masked_m are overwritten

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.a.normal_(generator=generator)
        buffers.b.normal_(generator=generator)
        buffers.masked_m.fill_(m)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.a[:, :m].float() @ buffers.b.float().mT}
