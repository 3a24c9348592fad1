"""``einsum`` of BF16 operands, a GEMM for each head: ``bhr,hdr->bhd`` and ``bhd,hdr->bhr``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from kregistry import (
    NUM_SMS,
    ArchSupport,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    Choice,
    KernelType,
    Proof,
    RunDimension,
    Shape,
    ShapeError,
    Signature,
    Size,
    Value,
)
from kregistry_plugins import calls, compiled_dims
from kregistry_plugins.bf16_gemm.dense import ALIGNMENT, TENSOR_CORES

if TYPE_CHECKING:
    import torch

OUTPUT = Choice(
    "output",
    "dtype of the output; 0.1.4 and 0.2.3 of DeepGEMM refuse FP32, and so does sm120",
    ("bfloat16", "float32"),
    default="bfloat16",
    needs={"float32": ">=0.2.4"},
)
ARCHS = (
    ArchSupport("sm90"),
    ArchSupport("sm100"),
    ArchSupport("sm120", ">=0.2", "DeepGEMM 0.1 asserts 'Unsupported architecture' (einsum.hpp) on sm120"),
)
EINSUM = Signature("expr, a, b, d, c=None, use_cublaslt=False")


class _Bf16Einsum(KernelType):
    """x [b, h, summed] by y [h, d, r] to z [b, h, kept]: one of d and r is summed over."""

    expression: ClassVar[str]
    #: The dimension that is summed over, and the one that is kept.
    summed: ClassVar[str]
    kept: ClassVar[str]

    dimensions = (
        Size("h", "heads on this rank", "heads"),
        Size("r", "rank: the last dimension of y", "columns", multiple_of=8),
        Size("d", "head dimension: the middle dimension of y", "columns", multiple_of=8),
        OUTPUT,
    )
    settings = (ALIGNMENT, NUM_SMS, TENSOR_CORES, *compiled_dims.SETTINGS)
    run_dimension = RunDimension("b", "tokens of one step", "rows")
    function_names = ("einsum",)
    signature = EINSUM
    archs = ARCHS
    raises_on_empty = ">=0.2"
    passes_on = ">=0.1.4,<=0.2.3.post2"
    proof = Proof(examples=({"h": 4, "r": 256, "d": 128}, {"h": 3, "r": 136, "d": 72}))

    def check(self, shape: Shape) -> None:
        if shape.output == "float32" and shape.target.arch == "sm120":
            raise ShapeError(self.name, "output", "float32 is refused on sm120", "leave it out")

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {
            "x": BufferSpec((max_m, shape.h, getattr(shape, self.summed)), "bfloat16"),
            "y": BufferSpec((shape.h, shape.d, shape.r), "bfloat16", "weight"),
            "z": BufferSpec((max_m, shape.h, getattr(shape, self.kept)), shape.output, "output"),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call((self.expression, buffers.x[:m], buffers.y, buffers.z[:m]))

    def read_m(self, expr: str, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        return d.shape[0]

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        """Takes the calls of this expression that are no calls of cuBLASLt."""
        calls.belongs(self.name, "expression", call.expr, (self.expression,))
        calls.belongs(self.name, "use_cublaslt", call.use_cublaslt, (False,))
        h, columns, rank = call.b.shape
        return {"h": h, "r": rank, "d": columns, "output": calls.dtype_of(call.d)}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.x[:m].normal_(generator=generator)
        buffers.y.normal_(generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        return {"z": torch.einsum(self.expression, buffers.x[:m].float(), buffers.y.float())}


class EinsumBhrHdrBhd(_Bf16Einsum):
    """x [b, h, r] by y [h, d, r] to z [b, h, d]."""

    name = "einsum_bhr_hdr_bhd"
    summary = "BF16 einsum bhr,hdr->bhd: a GEMM for each head"
    expression = "bhr,hdr->bhd"
    summed, kept = "r", "d"


class EinsumBhdHdrBhr(_Bf16Einsum):
    """x [b, h, d] by y [h, d, r] to z [b, h, r]."""

    name = "einsum_bhd_hdr_bhr"
    summary = "BF16 einsum bhd,hdr->bhr: a GEMM for each head, the weight transposed"
    expression = "bhd,hdr->bhr"
    summed, kept = "d", "r"
