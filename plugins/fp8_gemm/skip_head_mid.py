"""``fp8_gemm_nt_skip_head_mid``: a dense FP8 GEMM that leaves room in the middle of each head of its output.

A head of the output is left + mid + right columns wide; ``b`` has rows for left and right only, and what lies in mid
stays as it is (DeepSeek-V3's ``kv_b_proj``, with the rotary part in between).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import evolve

from kregistry import ArchSupport, Arguments, Buffers, BufferSpec, Call, Shape, ShapeError, Signature, Size, Value
from kregistry_plugins import compiled_dims
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.fp8_gemm.dense import Fp8GemmNt, K, N, check_fp8_operands, scale_form

if TYPE_CHECKING:
    import torch

#: Whole stores of the epilogue, at most 64 columns wide, must lie in one part of a head.
_GRAIN = 64
HEAD_LEFT = Size("head_left", "columns at the start of each head", "columns", default=128, multiple_of=_GRAIN)
HEAD_MID = Size("head_mid", "columns of each head that are left alone", "columns", default=64, multiple_of=_GRAIN)
HEAD_RIGHT = Size("head_right", "columns at the end of each head", "columns", default=128, multiple_of=_GRAIN)
_GONE = "this function was removed in DeepGEMM 0.2.5"


class Fp8GemmNtSkipHeadMid(Fp8GemmNt):
    """a [m, k], b [n, k], d [m, heads x (left + mid + right)], where n = heads x (left + right)."""

    name = "fp8_gemm_nt_skip_head_mid"
    summary = "dense FP8 GEMM that leaves the middle of each head of its output alone (kv_b_proj)"
    dimensions = (N, K, HEAD_LEFT, HEAD_MID, HEAD_RIGHT, scales.SCALES, compiled_dims.GROUPED)
    function_names = ("fp8_gemm_nt_skip_head_mid",)
    signature = Signature("a, b, d, head_splits, recipe=None, compiled_dims='nk', disable_ue8m0_cast=False")
    archs = (
        ArchSupport("sm90", "<0.2.5", _GONE),
        ArchSupport("sm100", "<0.2.5", _GONE),
        ArchSupport(
            "sm120", ">=0.2,<0.2.5", f"DeepGEMM 0.1 asserts 'Unknown recipe' (layout.hpp:76) on sm120; {_GONE}"
        ),
    )
    proof = evolve(
        Fp8GemmNt.proof,
        examples=(
            {"n": 512, "k": 512},
            {"n": 384, "k": 144, "head_left": 64, "head_right": 64},
            {"n": 512, "k": 256, "head_left": 192, "head_mid": 128, "head_right": 64},
        ),
    )

    def check(self, shape: Shape) -> None:
        super().check(shape)
        head = shape.head_left + shape.head_right
        if shape.n % head:
            text = f"expected a multiple of head_left + head_right = {head}, got {shape.n}"
            raise ShapeError(self.name, "n", text)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        columns = _heads(shape) * (shape.head_left + shape.head_mid + shape.head_right)
        return {**super().buffers(shape, max_m), "d": BufferSpec((max_m, columns), "bfloat16", "output")}

    def arguments(self, buffers: Buffers, m: int) -> Call:
        shape = buffers.shape
        heads = (shape.head_left, shape.head_mid, shape.head_right)
        keywords = compiled_dims.keywords(shape, compiled_dims.GROUPED)
        return Call((*super().arguments(buffers, m).args, heads), keywords)

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        check_fp8_operands(self.name, call, parts=False)
        n, k = call.b[0].shape
        left, mid, right = call.head_splits
        heads = {"head_left": left, "head_mid": mid, "head_right": right}
        compiled = compiled_dims.read(call, compiled_dims.GROUPED)
        return {"n": n, "k": k, **heads, "scales": scale_form(call.a[1]), **compiled}

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """``left`` and ``right`` [m, heads, columns]."""
        shape = buffers.shape
        heads = buffers.d[:m].unflatten(-1, (_heads(shape), -1))
        return {"left": heads[..., : shape.head_left], "right": heads[..., shape.head_left + shape.head_mid :]}

    def untouched(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        shape = buffers.shape
        heads = buffers.d[:m].unflatten(-1, (_heads(shape), -1))
        return {"middle": heads[..., shape.head_left : shape.head_left + shape.head_mid]}

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        shape = buffers.shape
        heads = super().reference(buffers, m)["d"].unflatten(-1, (_heads(shape), -1))
        return {"left": heads[..., : shape.head_left], "right": heads[..., shape.head_left :]}


def _heads(shape: Shape) -> int:
    return int(shape.n) // (int(shape.head_left) + int(shape.head_right))
