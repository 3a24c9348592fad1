"""``m_grouped_bf16_gemm_nt_contiguous`` and ``nn``: one BF16 GEMM for each expert, all rows one after another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from kregistry import (
    MK_ALIGNMENT,
    NUM_SMS,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    Dimension,
    Gemm,
    Proof,
    Shape,
    ShapeError,
    Signature,
    Size,
    Value,
)
from kregistry_plugins import compiled_dims, contiguous_rows
from kregistry_plugins.bf16_gemm.dense import ARCHS, TENSOR_CORES, K
from kregistry_plugins.contiguous_rows import GROUPS

if TYPE_CHECKING:
    import torch

N = Size("n", "columns of the output: rows of each expert's weight", "columns", multiple_of=8)


class _MGroupedBf16GemmContiguous(Gemm):
    """Grouped BF16 GEMM of a mixture-of-experts prefill."""

    transposed_b: ClassVar[bool]

    settings = (MK_ALIGNMENT, NUM_SMS, TENSOR_CORES, *compiled_dims.SETTINGS)
    run_dimension = contiguous_rows.RUN
    signature = Signature(
        "a, b, d, grouped_layout, compiled_dims='nk', use_psum_layout=False, ensure_zero_padding=True, "
        "expected_m_for_psum_layout=None"
    )
    archs = ARCHS
    proof = Proof(
        examples=(
            {"num_groups": 4, "n": 256, "k": 512},
            {"num_groups": 3, "n": 72, "k": 192},
            {"num_groups": 3, "n": 72, "k": 136},
            {"num_groups": 2, "n": 64, "k": 64, "mk_alignment": 64},
            {"num_groups": 3, "n": 64, "k": 128, "use_psum_layout": True},
        )
    )

    def check(self, shape: Shape) -> None:
        check_k(self.name, shape)
        contiguous_rows.check_layout(self.name, shape)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        groups, n, k = shape.num_groups, shape.n, shape.k
        return {
            "a": BufferSpec((max_m, k), "bfloat16"),
            "b": BufferSpec((groups, n, k) if self.transposed_b else (groups, k, n), "bfloat16", "weight"),
            "d": BufferSpec((max_m, n), "bfloat16", "output"),
            "grouped_layout": contiguous_rows.layout_spec(shape, max_m),
        }

    def linear_arguments(self, shape: Shape) -> bool:
        return contiguous_rows.is_linear(shape)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        layout = contiguous_rows.layout_of(buffers, m)
        compiled = compiled_dims.keywords(buffers.shape, compiled_dims.GROUPED)
        keywords = {**contiguous_rows.keywords(buffers.shape, m), **compiled}
        return Call((buffers.a[:m], buffers.b, buffers.d[:m], layout), keywords)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        contiguous_rows.fill_groups(buffers, m, generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        d = torch.zeros(buffers.d[:m].shape, device=buffers.d.device)
        for rows, group in contiguous_rows.groups_of(buffers, m):
            weight = buffers.b[group].float()
            d[rows] = buffers.a[rows].float() @ (weight.T if self.transposed_b else weight)
        return {"d": d}


class MGroupedBf16GemmNtContiguous(_MGroupedBf16GemmContiguous):
    """b [num_groups, n, k]."""

    name = "m_grouped_bf16_gemm_nt_contiguous"
    transposed_b = True
    summary = "grouped BF16 GEMM, rows of all groups contiguous, b num_groups x n x k (MoE prefill)"
    dimensions = (GROUPS, N, K, *contiguous_rows.NT_LAYOUT, compiled_dims.GROUPED)
    function_names = ("m_grouped_bf16_gemm_nt_contiguous",)

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        groups, n, k = call.b.shape
        return {"num_groups": groups, "n": n, "k": k, **_read(call, contiguous_rows.NT_LAYOUT)}


class MGroupedBf16GemmNnContiguous(_MGroupedBf16GemmContiguous):
    """b [num_groups, k, n]."""

    name = "m_grouped_bf16_gemm_nn_contiguous"
    transposed_b = False
    summary = "grouped BF16 GEMM, rows of all groups contiguous, b num_groups x k x n (MoE prefill)"
    dimensions = (GROUPS, N, K, *contiguous_rows.LAYOUT, compiled_dims.GROUPED)
    function_names = ("m_grouped_bf16_gemm_nn_contiguous",)

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        groups, k, n = call.b.shape
        return {"num_groups": groups, "n": n, "k": k, **_read(call, contiguous_rows.LAYOUT)}


def _read(call: Arguments, layout: tuple[Dimension, ...]) -> dict[str, Value]:
    """The dimensions that are arguments of the call."""
    return {**contiguous_rows.read_layout(call, layout), **compiled_dims.read(call, compiled_dims.GROUPED)}


def check_k(kernel_type: str, shape: Shape) -> None:
    """Refuse what the grouped kernels of SM90 refuse (sm90_bf16_gemm.hpp: ``k % 64 == 0``)."""
    if shape.target.arch == "sm90" and shape.k % 64:
        raise ShapeError(kernel_type, "k", f"sm90 needs a multiple of 64 in a grouped BF16 GEMM, got {shape.k}")
