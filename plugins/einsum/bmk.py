"""``einsum("bmk,bnk->mn")`` of BF16 operands: the products of a batch, added up.

The kernel adds into FP32 from many blocks at once, so the order of the sum, and with it the last bits, vary. With a
BF16 output DeepGEMM adds into a buffer of its own and rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from kregistry import (
    NUM_SMS,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    EmptyInput,
    KernelType,
    Proof,
    RunDimension,
    Shape,
    ShapeError,
    Size,
    Value,
)
from kregistry_plugins import calls
from kregistry_plugins.einsum.bf16 import ARCHS, EINSUM

if TYPE_CHECKING:
    import torch

EXPRESSION = "bmk,bnk->mn"


class _BatchSum(KernelType):
    """a [s, m, k] by b [s, n, k] to d [m, n], summed over s and k."""

    output: ClassVar[str]
    #: Whether a launch adds to ``d``.
    adds: ClassVar[bool] = False
    #: What a call gives for ``c``.
    added_to: ClassVar[str | None] = None

    dimensions = (
        Size("m", "rows of the output", "rows", multiple_of=64),
        Size("n", "columns of the output", "columns", multiple_of=64),
        Size("k", "columns of both operands, summed over", "columns", multiple_of=64),
    )
    settings = (NUM_SMS,)
    run_dimension = RunDimension("s", "batch: products that are added up", "products")
    function_names = ("einsum",)
    signature = EINSUM
    archs = ARCHS
    proof = Proof(deterministic=False, examples=({"m": 128, "n": 64, "k": 64}, {"m": 64, "n": 192, "k": 128}))

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        m, n, k = shape.m, shape.n, shape.k
        return {
            "a": BufferSpec((max_m, m, k), "bfloat16"),
            "b": BufferSpec((max_m, n, k), "bfloat16"),
            "d": BufferSpec((m, n), self.output, "output", accumulated=self.adds),
        }

    def read_m(
        self,
        expr: str,
        a: torch.Tensor,
        b: torch.Tensor,
        d: torch.Tensor,
        c: torch.Tensor | None = None,
        use_cublaslt: bool = False,
    ) -> int:
        """Also refuses, before any call, the one that would end the process: FP32 output without ``c``.

        Raises:
            ShapeError: ``d`` is FP32 and there is no ``c``.
        """
        if c is None and d.element_size() == 4:
            text = f"a call of {expr!r} with FP32 d and no c: DeepGEMM reads c unasked, and the process dies"
            raise ShapeError(self.name, "", text, "pass c=d, what is added to")
        return a.shape[0]

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        calls.belongs(self.name, "expression", call.expr, (EXPRESSION,))
        calls.belongs(self.name, "d.dtype", calls.dtype_of(call.d), (self.output,))
        calls.belongs(self.name, "c", None if call.c is None else "a tensor", (self.added_to,))
        _, m, k = call.a.shape
        return {"m": m, "n": call.b.shape[1], "k": k}

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.a[:m].normal_(generator=generator)
        buffers.b[:m].normal_(generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        return {"d": torch.einsum(EXPRESSION, buffers.a[:m].float(), buffers.b[:m].float())}


class EinsumBmkBnkMn(_BatchSum):
    """BF16 output: a batch of none gives zeros, which DeepGEMM does not know."""

    name = "einsum_bmk_bnk_mn"
    summary = "BF16 einsum bmk,bnk->mn: the products of a batch added up, BF16 output"
    output = "bfloat16"
    empty_input = EmptyInput.ZERO_OUTPUTS

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        return 4 * int(shape.m) * int(shape.n)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call((EXPRESSION, buffers.a[:m], buffers.b[:m], buffers.d))

    def empty_result(self, call: Arguments) -> None:
        call.d.zero_()


class EinsumBmkBnkMnAccumulate(_BatchSum):
    """FP32 output, added to: ``c`` is ``d``. A batch of none leaves it as it is, which DeepGEMM does not know."""

    name = "einsum_bmk_bnk_mn_accumulate"
    summary = "BF16 einsum bmk,bnk->mn: the products of a batch added to an FP32 output"
    output = "float32"
    adds = True
    added_to = "a tensor"

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call((EXPRESSION, buffers.a[:m], buffers.b[:m], buffers.d), {"c": buffers.d})

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.d.normal_(generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """The sum with what ``d`` holds, so it must be asked before the launch."""
        return {"d": buffers.d + super().reference(buffers, m)["d"]}
