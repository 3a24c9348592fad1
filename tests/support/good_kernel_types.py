"""Kernel types that keep every rule; the wrong ones of the conformance tests break one rule each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kregistry import (
    DETERMINISTIC,
    NUM_SMS,
    ArchSupport,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    Dimension,
    Gemm,
    KernelType,
    Proof,
    RunDimension,
    Setting,
    Shape,
    Signature,
    Size,
    Value,
    deep_gemm_version,
)

if TYPE_CHECKING:
    import torch

N = Size("n", "columns of the output", "columns")
K = Size("k", "columns of the input", "columns")


def plain_gemm(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, num_splits: int = 1) -> None:
    """d[m, n] = a[m, k] @ b[n, k].T, on any device."""
    d.copy_(a.float() @ b.float().T)


class PlainGemm(KernelType):
    """A GEMM in plain torch: its numerics can be proven on a CPU."""

    name = "plain_gemm"
    summary = "GEMM in plain torch"
    dimensions = (N, K, Size("num_splits", "parts of k", "parts", default=1))
    run_dimension = RunDimension("m", "rows", "rows")
    function_names = ("plain_gemm",)
    signature = Signature("a, b, d, num_splits=1")
    archs = (ArchSupport("sm90"),)
    proof = Proof(devices=("cpu",), examples=({"n": 24, "k": 40}, {"n": 7, "k": 16, "num_splits": 2}))

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {
            "a": BufferSpec((max_m, shape.k), "float32"),
            "b": BufferSpec((shape.n, shape.k), "float32", "weight"),
            "d": BufferSpec((max_m, shape.n), "bfloat16", "output"),
        }

    def function(self) -> Callable[..., Any]:
        return plain_gemm

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call((buffers.a[:m], buffers.b, buffers.d[:m]), {"num_splits": buffers.shape.num_splits})

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"n": call.b.shape[0], "k": call.b.shape[1], "num_splits": call.num_splits}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.a[:m].normal_(generator=generator)
        buffers.b.normal_(generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.a[:m] @ buffers.b.T}


class Bf16Gemm(Gemm):
    """A GEMM of DeepGEMM: its launches can be tried on the stub GPU."""

    name = "good_bf16_gemm_nt"
    summary = "BF16 GEMM"
    dimensions: tuple[Dimension, ...] = (
        Size("n", "columns of the output", "columns", multiple_of=8),
        Size("k", "columns of the input", "columns", multiple_of=8),
    )
    settings: tuple[Setting, ...] = (DETERMINISTIC, NUM_SMS)
    function_names = ("bf16_gemm_nt",)
    archs: tuple[ArchSupport, ...] = (ArchSupport("sm90"),)
    handles_empty = "none"
    proof = Proof(examples=({"n": 256, "k": 512},))

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {
            "a": BufferSpec((max_m, shape.k), "bfloat16"),
            "b": BufferSpec((shape.n, shape.k), "bfloat16", "weight"),
            "d": BufferSpec((max_m, shape.n), "bfloat16", "output"),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        """DeepGEMM 0.2 hands the call to cuBLASLt unless it is deterministic, and allocates 16 MiB for it."""
        first_series = (deep_gemm_version() or "").startswith("0.1.")
        return 0 if first_series or shape.get("deterministic") else 16 << 20

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.a[:m].float() @ buffers.b.float().T}
