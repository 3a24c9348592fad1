"""``bf16_gemm_nt``, ``nn``, ``tn``, ``tt``: d[m, n] = a[m, k] @ b[n, k].T in BF16.

The first letter says how ``a`` is stored (n: [m, k], t: [k, m]), the second how ``b`` is (t: [n, k], n: [k, n]).
DeepGEMM 0.2 hands these calls to cuBLASLt, unless it runs in deterministic mode: then a plan has no kernel for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from attrs import evolve

from kregistry import (
    DETERMINISTIC,
    MK_ALIGNMENT,
    NUM_SMS,
    TC_UTIL,
    ArchSupport,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    Choice,
    Gemm,
    Proof,
    Shape,
    ShapeError,
    Signature,
    Size,
    Value,
)
from kregistry_plugins import calls, compiled_dims, installed

if TYPE_CHECKING:
    import torch

_CUBLASLT_WORKSPACE = 16 << 20

N = Size("n", "columns of the output: rows of the weight on this rank", "columns", multiple_of=4)
K = Size("k", "columns of the input: the dimension that is summed over", "columns", multiple_of=8)
OUTPUT = Choice("output", "dtype of the output", ("bfloat16", "float32"), default="bfloat16")
#: The alignment of contiguous layouts is part of dense kernels too, but for SM90 (rule KR210 of the conformance kit).
ALIGNMENT = evolve(MK_ALIGNMENT, archs=("sm100", "sm120"))
#: What set_tc_util() says is part of the kernels of SM100.
TENSOR_CORES = evolve(TC_UTIL, archs=("sm100",))

ARCHS = (
    ArchSupport("sm90"),
    ArchSupport("sm100"),
    ArchSupport("sm120", ">=0.2", "DeepGEMM 0.1 asserts 'Unsupported architecture' (gemm.hpp) on sm120"),
)


class _Bf16Gemm(Gemm):
    """A dense BF16 GEMM in one of four layouts."""

    layout: ClassVar[str]

    dimensions = (N, K, OUTPUT, compiled_dims.DENSE)
    signature = Signature("a, b, d, c=None, compiled_dims='', *args, **kwargs")
    settings = (DETERMINISTIC, ALIGNMENT, NUM_SMS, TENSOR_CORES, *compiled_dims.SETTINGS)
    archs = ARCHS
    proof = Proof(examples=({"n": 576, "k": 512}, {"n": 200, "k": 136}, {"n": 56, "k": 256, "output": "float32"}))

    def check(self, shape: Shape) -> None:
        if shape.output == "bfloat16" and shape.n % 8:
            raise ShapeError(self.name, "n", f"BF16 output needs a multiple of 8, got {shape.n}")
        if self.layout[1] == "n" and shape.n % 8:
            raise ShapeError(
                self.name, "n", f"rows of b [k, n] must be a multiple of 16 bytes: 8 columns, got {shape.n}"
            )

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        n, k = shape.n, shape.k
        # Rows of a [k, m] must be a multiple of 16 bytes; a view of a wider buffer makes every m possible.
        a = (k, -(-max_m // 8) * 8) if self.layout[0] == "t" else (max_m, k)
        return {
            "a": BufferSpec(a, "bfloat16"),
            "b": BufferSpec((k, n) if self.layout[1] == "n" else (n, k), "bfloat16", "weight"),
            "d": BufferSpec((max_m, n), shape.output, "output"),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        """What DeepGEMM 0.2 lends to cuBLASLt, where that gets the call."""
        return 0 if shape.deterministic or installed.is_first_series() else _CUBLASLT_WORKSPACE

    def linear_arguments(self, shape: Shape) -> bool:
        return True

    def arguments(self, buffers: Buffers, m: int) -> Call:
        keywords = compiled_dims.keywords(buffers.shape, compiled_dims.DENSE)
        return Call((self._a(buffers, m), buffers.b, buffers.d[:m]), keywords)

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        k, n = call.b.shape if self.layout[1] == "n" else reversed(call.b.shape)
        compiled = compiled_dims.read(call, compiled_dims.DENSE)
        return {"n": n, "k": k, "output": calls.dtype_of(call.d), **compiled}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        self._a(buffers, m).normal_(generator=generator)
        buffers.b.normal_(generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        a, b = self._a(buffers, m).float(), buffers.b.float()
        return {"d": (a.T if self.layout[0] == "t" else a) @ (b if self.layout[1] == "n" else b.T)}

    def _a(self, buffers: Buffers, m: int) -> torch.Tensor:
        a: torch.Tensor = buffers.a
        return a[:, :m] if self.layout[0] == "t" else a[:m]


class Bf16GemmNt(_Bf16Gemm):
    """Linear layers of BF16 models: a [m, k], b [n, k]."""

    name = "bf16_gemm_nt"
    layout = "nt"
    summary = "dense BF16 GEMM, a m x k, b n x k, BF16 or FP32 output"
    function_names = ("bf16_gemm_nt",)


class Bf16GemmNn(_Bf16Gemm):
    """a [m, k], b [k, n]."""

    name = "bf16_gemm_nn"
    layout = "nn"
    summary = "dense BF16 GEMM, a m x k, b k x n, BF16 or FP32 output"
    function_names = ("bf16_gemm_nn",)


class Bf16GemmTn(_Bf16Gemm):
    """a [k, m], b [k, n]."""

    name = "bf16_gemm_tn"
    layout = "tn"
    summary = "dense BF16 GEMM, a k x m, b k x n, BF16 or FP32 output"
    function_names = ("bf16_gemm_tn",)


class Bf16GemmTt(_Bf16Gemm):
    """a [k, m], b [n, k]."""

    name = "bf16_gemm_tt"
    layout = "tt"
    summary = "dense BF16 GEMM, a k x m, b n x k, BF16 or FP32 output"
    function_names = ("bf16_gemm_tt",)
