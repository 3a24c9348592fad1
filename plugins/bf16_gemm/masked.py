"""``m_grouped_bf16_gemm_nt_masked``: one BF16 GEMM for each expert, each with a buffer of its own, filled in part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kregistry import Arguments, Buffers, BufferSpec, Call, Proof, Shape, Signature, Value
from kregistry_plugins import compiled_dims
from kregistry_plugins.bf16_gemm.contiguous import N, check_k
from kregistry_plugins.bf16_gemm.dense import ARCHS, TENSOR_CORES, K
from kregistry_plugins.contiguous_rows import GROUPS
from kregistry_plugins.masked_rows import MaskedGemm, fill_counts, masked, rows_of_a_group

if TYPE_CHECKING:
    import torch


class MGroupedBf16GemmNtMasked(MaskedGemm):
    """BF16 operands."""

    name = "m_grouped_bf16_gemm_nt_masked"
    summary = "grouped BF16 GEMM, one buffer for each group, filled in part (MoE decode)"
    dimensions = (GROUPS, N, K, compiled_dims.GROUPED)
    settings = (*MaskedGemm.settings, TENSOR_CORES)
    function_names = ("m_grouped_bf16_gemm_nt_masked", "bf16_m_grouped_gemm_nt_masked")
    signature = Signature("a, b, d, masked_m, expected_m, compiled_dims='nk', *args, **kwargs")
    archs = ARCHS
    passes_on = ">=0.1.4,<=0.2.3.post2"
    proof = Proof(
        examples=(
            {"num_groups": 4, "n": 256, "k": 512},
            {"num_groups": 3, "n": 72, "k": 192},
            {"num_groups": 3, "n": 72, "k": 136},
        )
    )

    def check(self, shape: Shape) -> None:
        check_k(self.name, shape)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        groups, n, k = shape.num_groups, shape.n, shape.k
        rows = rows_of_a_group(max_m)
        return {
            "a": BufferSpec((groups, rows, k), "bfloat16"),
            "b": BufferSpec((groups, n, k), "bfloat16", "weight"),
            "d": BufferSpec((groups, rows, n), "bfloat16", "output"),
            "masked_m": BufferSpec((groups,), "int32", initial=0),
        }

    def linear_arguments(self, shape: Shape) -> bool:
        return True

    def arguments(self, buffers: Buffers, m: int) -> Call:
        keywords = compiled_dims.keywords(buffers.shape, compiled_dims.GROUPED)
        return Call((buffers.a, buffers.b, buffers.d, buffers.masked_m, m), keywords)

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        groups, n, k = call.b.shape
        return {"num_groups": groups, "n": n, "k": k, **compiled_dims.read(call, compiled_dims.GROUPED)}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.a.normal_(generator=generator)
        buffers.b.normal_(generator=generator)
        fill_counts(buffers.masked_m, m, generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": masked(buffers.a[:, :m].float() @ buffers.b.float().mT, buffers.masked_m)}
