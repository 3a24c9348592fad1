"""``fp8_einsum("bhd,bhr->hdr")``: for each head the gradient of a weight, summed over tokens and added to FP32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kregistry import (
    NUM_SMS,
    ArchSupport,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    KernelType,
    Proof,
    RunDimension,
    Shape,
    Value,
)
from kregistry_plugins import calls, compiled_dims
from kregistry_plugins.einsum.fp8 import FP8_EINSUM, SCALES, SM120, D, H, R
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.fp8_gemm.dense import ALIGNMENT, Operand, scale_form

if TYPE_CHECKING:
    import torch

EXPRESSION = "bhd,bhr->hdr"


class Fp8EinsumBhdBhrHdr(KernelType):
    """x [b, h, d] by y [b, h, r], added to z [h, d, r]; scale factors by column and 128 tokens."""

    name = "fp8_einsum_bhd_bhr_hdr"
    summary = "FP8 einsum bhd,bhr->hdr: weight gradients of each head, added to an FP32 output"
    dimensions = (H, R, D, SCALES)
    settings = (ALIGNMENT, NUM_SMS, *compiled_dims.SETTINGS)
    run_dimension = RunDimension("b", "tokens, summed over", "rows", scales.GROUP, scales.GROUP)
    function_names = ("fp8_einsum",)
    signature = FP8_EINSUM
    handles_empty = ""
    archs = (
        ArchSupport("sm90", "none", "DeepGEMM asserts 'Unsupported einsum expression' (einsum.hpp) on sm90"),
        ArchSupport("sm100"),
        SM120,
    )
    proof = Proof(examples=({"h": 2, "r": 256, "d": 128}, {"h": 3, "r": 144, "d": 80, "scales": "ue8m0"}))

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        h, d, r = shape.h, shape.d, shape.r
        return {
            "x": BufferSpec((max_m, h, d), "float8_e4m3fn"),
            "sfx": _scales(shape, max_m, d),
            "y": BufferSpec((max_m, h, r), "float8_e4m3fn"),
            "sfy": _scales(shape, max_m, r),
            "z": BufferSpec((h, d, r), "float32", "output", accumulated=True),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        (x, sfx), (y, sfy) = _operands(buffers, m)
        return Call((EXPRESSION, (x, sfx), (y, sfy), buffers.z), {"c": buffers.z, "recipe": (1, 1, scales.GROUP)})

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        """The scale factors converted (measured on the stub GPU: an upper bound), and on SM120 K-major copies."""
        copies = max_m * shape.h * (shape.d + shape.r) if shape.target.arch == "sm120" else 0
        if shape.scales != "f32":
            return copies
        columns = scales.ceil_div(max_m, scales.GROUP)
        both = scales.align(shape.d, 4) + scales.align(shape.r, 4)
        return copies + 4 * shape.h * both * (columns + scales.ceil_div(columns, 4))

    def read_m(self, expr: str, a: Operand, *args: Any, **kwargs: Any) -> int:
        return a[0].shape[0]

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        calls.belongs(self.name, "expression", call.expr, (EXPRESSION,))
        calls.belongs(self.name, "c", None if call.c is None else "a tensor", ("a tensor",))
        calls.belongs(self.name, "d.dtype", calls.dtype_of(call.d), ("float32",))
        calls.belongs(self.name, "recipe", tuple(call.recipe), ((1, 1, scales.GROUP),))
        h, middle, last = call.d.shape
        return {"h": h, "r": last, "d": middle, "scales": scale_form(call.a[1])}

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"z": buffers.z}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        import torch

        for data, factors in _summed_last(buffers, m):
            values = torch.randn(data.shape, device=generator.device, generator=generator)
            scales.quantize_rows(values, data, factors, powers_of_two=scales.packs(buffers.shape))
        buffers.z.normal_(generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """The sum with what ``z`` holds, so it must be asked before the launch."""
        x, y = (scales.dequantize(data, factors) for data, factors in _summed_last(buffers, m))
        return {"z": buffers.z + x @ y.mT}


def _scales(shape: Shape, tokens: int, columns: int) -> BufferSpec:
    """Scale factors [tokens / 128, h, columns]; packed ones lie head by head."""
    if shape.scales == "f32":
        return BufferSpec(
            (scales.ceil_div(tokens, scales.GROUP), shape.h, columns), "float32", initial=scales.UNIT_SCALE
        )
    packed, stride = scales.ceil_div(tokens, 4 * scales.GROUP), scales.align(columns, 4)
    size, strides = (packed, shape.h, columns), (stride, packed * stride, 1)
    return BufferSpec(size, "int32", strides=strides, storage=shape.h * packed * stride)


def _operands(buffers: Buffers, m: int) -> tuple[Operand, Operand]:
    """x and y of the first ``m`` tokens with their scale factors, as DeepGEMM wants them."""
    return (buffers.x[:m], _tokens_of(buffers.sfx, m)), (buffers.y[:m], _tokens_of(buffers.sfy, m))


def _tokens_of(scale_factors: torch.Tensor, m: int) -> torch.Tensor:
    import torch

    if scale_factors.dtype == torch.float32:
        return scale_factors[: scales.ceil_div(m, scales.GROUP)]
    _, heads, columns = scale_factors.shape
    packed, stride = scales.ceil_div(m, 4 * scales.GROUP), scales.align(columns, 4)
    return scale_factors.as_strided((packed, heads, columns), (stride, packed * stride, 1))


def _summed_last(buffers: Buffers, m: int) -> Iterator[Operand]:
    """x, then y, as [h, columns, tokens] with scale factors [h, columns, tokens / 128]: views."""
    for data, factors in _operands(buffers, m):
        yield data.permute(1, 2, 0), factors.permute(1, 2, 0)
