"""``fp8_gemm_nn``, ``tn``, ``tt``: the dense FP8 GEMM with operands given transposed.

The first letter says how ``a`` is given (n: [m, k], t: [k, m]), the second how ``b`` is (t: [n, k], n: [k, n]).
SM90 takes only views of K-major storage; elsewhere a [k, m] or [k, n] tensor is as good, and has kernels of its own.
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
    Choice,
    Gemm,
    Proof,
    Shape,
    ShapeError,
    Target,
    Value,
)
from kregistry_plugins import calls, compiled_dims
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.fp8_gemm.dense import (
    ALIGNMENT,
    ARCHS,
    DENSE,
    K,
    N,
    check_dense_call,
    fill_rows,
    fill_weight,
    scale_form,
)
from kregistry_plugins.fp8_gemm.workspace import dense_workspace

if TYPE_CHECKING:
    import torch


def _default_major(target: Target) -> str:
    return "k" if target.arch == "sm90" else "mn"


MAJOR = Choice(
    "major",
    "storage of the transposed operands: k (a transposed view of [rows, k]) or mn ([k, rows] contiguous)",
    ("k", "mn"),
    default=_default_major,
)


def check_major(kernel_type: str, shape: Shape, b_transposed: bool, grain: int = 16) -> None:
    """Refuse operands stored [k, rows] where DeepGEMM does; ``b_transposed``: whether b is one of them, of rows in
    multiples of ``grain``."""
    if shape.major != "mn":
        return
    if shape.target.arch == "sm90":
        raise ShapeError(kernel_type, "major", "mn is refused on sm90: FP8 operands must be K-major", "say k")
    if b_transposed and shape.n % grain:
        raise ShapeError(kernel_type, "n", f"rows of b [k, n] must be a multiple of {grain} columns, got {shape.n}")


class _TransposedFp8Gemm(Gemm):
    """A dense FP8 GEMM with at least one operand given transposed."""

    layout: ClassVar[str]

    dimensions = (N, K, scales.SCALES, MAJOR, compiled_dims.DENSE)
    settings = (ALIGNMENT, NUM_SMS, *compiled_dims.SETTINGS)
    signature = DENSE
    without_effect = calls.NO_CAST
    archs = ARCHS
    proof = Proof(
        examples=(
            {"n": 576, "k": 512},
            {"n": 208, "k": 144},
            {"n": 200, "k": 144, "major": "k"},
            {"n": 256, "k": 640, "scales": "f32"},
        )
    )

    def check(self, shape: Shape) -> None:
        scales.check_scales(self.name, shape)
        check_major(self.name, shape, b_transposed=self.layout[1] == "n")

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        n, k = shape.n, shape.k
        # Rows of a [k, m] must be a multiple of 16 bytes; a view of a wider buffer makes every m possible.
        a = (k, scales.align(max_m, 16)) if self._mn(shape, 0) else (max_m, k)
        return {
            "a": BufferSpec(a, "float8_e4m3fn"),
            "sfa": scales.row_scales(shape.scales, max_m, k),
            "b": BufferSpec((k, n) if self._mn(shape, 1) else (n, k), "float8_e4m3fn", "weight"),
            "sfb": scales.weight_scales(shape.scales, n, k),
            "d": BufferSpec((max_m, n), "bfloat16", "output"),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        copied_a, copied_b = self._mn(shape, 0), self._mn(shape, 1)
        f32_scales = shape.scales == "f32"
        return dense_workspace(shape, max_m, f32_scales=f32_scales, copied_a=copied_a, copied_b=copied_b)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        a, sfa, b, sfb = self._row_major(buffers, m)
        if self.layout[0] == "t":
            a, sfa = a.T, sfa.T
        if self.layout[1] == "n":
            b, sfb = b.T, sfb.T
        return Call(((a, sfa), (b, sfb), buffers.d[:m]), compiled_dims.keywords(buffers.shape, compiled_dims.DENSE))

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        check_dense_call(self.name, call)
        k, n = call.b[0].shape if self.layout[1] == "n" else reversed(call.b[0].shape)
        transposed = call.a[0] if self.layout[0] == "t" else call.b[0]
        major = "mn" if transposed.stride(-1) == 1 else "k"
        compiled = compiled_dims.read(call, compiled_dims.DENSE)
        return {"n": n, "k": k, "scales": scale_form(call.a[1]), "major": major, **compiled}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        a, sfa, b, sfb = self._row_major(buffers, m)
        fill_rows(a, sfa, generator, buffers.shape)
        fill_weight(b, sfb, generator, buffers.shape)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        a, sfa, b, sfb = self._row_major(buffers, m)
        return {"d": scales.dequantize(a, sfa) @ scales.dequantize(b, sfb).T}

    def _mn(self, shape: Shape, operand: int) -> bool:
        """Whether an operand is stored [k, rows]."""
        return shape.major == "mn" and self.layout[operand] != "nt"[operand]

    def _row_major(self, buffers: Buffers, m: int) -> tuple[torch.Tensor, ...]:
        """a [m, k], its scale factors, b [n, k], its scale factors: views, whatever the storage."""
        a = buffers.a[:, :m].T if self._mn(buffers.shape, 0) else buffers.a[:m]
        b = buffers.b.T if self._mn(buffers.shape, 1) else buffers.b
        return a, scales.rows_of(buffers.sfa, m), b, buffers.sfb


class Fp8GemmNn(_TransposedFp8Gemm):
    """a [m, k], b [k, n]."""

    name = "fp8_gemm_nn"
    layout = "nn"
    summary = "dense FP8 GEMM, a m x k, b k x n (input gradients)"
    function_names = ("fp8_gemm_nn", "fp8_fp4_gemm_nn")


class Fp8GemmTn(_TransposedFp8Gemm):
    """a [k, m], b [k, n]."""

    name = "fp8_gemm_tn"
    layout = "tn"
    summary = "dense FP8 GEMM, a k x m, b k x n"
    function_names = ("fp8_gemm_tn", "fp8_fp4_gemm_tn")


class Fp8GemmTt(_TransposedFp8Gemm):
    """a [k, m], b [n, k]."""

    name = "fp8_gemm_tt"
    layout = "tt"
    summary = "dense FP8 GEMM, a k x m, b n x k"
    function_names = ("fp8_gemm_tt", "fp8_fp4_gemm_tt")
