"""``fp8_einsum("bhr,hdr->bhd")``: an FP8 GEMM for each head (DeepSeek-V4's ``wo_a``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kregistry import (
    ArchSupport,
    Buffers,
    BufferSpec,
    Call,
    Dimension,
    KernelType,
    RunDimension,
    Shape,
    Value,
)
from kregistry_plugins import calls, settings
from kregistry_plugins.fp8_gemm import scales

if TYPE_CHECKING:
    import torch

EXPRESSION = "bhr,hdr->bhd"


@settings.follows_num_sms
class Fp8EinsumBhrHdrBhd(KernelType):
    """x [b, h, r] by y [h, d, r] to z [b, h, d], quantised by row and 128 columns, and by blocks of 128x128."""

    name = "fp8_einsum_bhr_hdr_bhd"
    summary = "FP8 einsum bhr,hdr->bhd, FP32 scale factors, BF16 output (DeepSeek-V4 wo_a)"
    dimensions = (
        Dimension("h", "heads or groups on this rank", "heads"),
        Dimension("r", "columns of the input: the dimension that is summed over", "columns", multiple_of=128),
        Dimension("d", "columns of the output of each head", "columns", multiple_of=128),
    )
    run_dimension = RunDimension("b", "tokens of one step", "rows")
    function_names = ("fp8_einsum",)
    archs = (
        ArchSupport("sm90"),
        ArchSupport("sm100"),
        ArchSupport("sm120", ">=0.2", "DeepGEMM 0.1 asserts 'Unknown SF transformation' (layout.hpp:60) on sm120"),
    )

    examples = ({"h": 4, "r": 512, "d": 256}, {"h": 3, "r": 384, "d": 128})

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        h, r, d = shape.h, shape.r, shape.d
        return {
            "x": BufferSpec((max_m, h, r), "float8_e4m3fn"),
            "sfx": BufferSpec((max_m, h, r // scales.GROUP), "float32"),
            "y": BufferSpec((h, d, r), "float8_e4m3fn", "weight"),
            "sfy": scales.weight_scales("f32", d, r, h),
            "z": BufferSpec((max_m, h, d), "bfloat16", "output"),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        x, y = (buffers.x[:m], buffers.sfx[:m]), (buffers.y, buffers.sfy)
        return Call((EXPRESSION, x, y, buffers.z[:m]), {"recipe": (1, 128, 128)})

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        """The scale factors of x and, except on SM90, of y, converted (measured on the stub GPU: an upper bound)."""
        h, d, columns = shape.h, shape.d, scales.ceil_div(shape.r, scales.GROUP)
        copy = 4 * scales.align(max_m, 4) * h * columns
        if shape.target.arch == "sm90":
            return copy
        packed = scales.ceil_div(columns, 4)
        return copy + 4 * scales.align(max_m, 4) * h * packed + 4 * h * d * (columns + packed)

    def read_m(self, expression: str, a: Any, b: Any, d: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        return d.shape[0]

    def read_shape(
        self, expression: str, a: Any, b: Any, d: torch.Tensor, *args: Any, **kwargs: Any
    ) -> Mapping[str, Value]:
        """Takes the calls of this expression with FP32 scale factors and BF16 output only."""
        calls.belongs(self.name, "expression", expression, (EXPRESSION,))
        calls.belongs(self.name, "the dtype of scale factors", calls.dtype_of(a[1]), ("float32",))
        calls.belongs(self.name, "d.dtype", calls.dtype_of(d), ("bfloat16",))
        h, d, r = b[0].shape
        return {"h": h, "r": r, "d": d}

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"z": buffers.z[:m]}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        import torch

        x, y = buffers.x[:m], buffers.y
        values = torch.randn(x.shape, device=generator.device, generator=generator)
        scales.quantize_rows(values, x, buffers.sfx[:m])
        values = torch.randn(y.shape, device=generator.device, generator=generator)
        scales.quantize_blocks(values, y, buffers.sfy)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        x = scales.dequantize(buffers.x[:m], buffers.sfx[:m])
        return {"z": torch.einsum(EXPRESSION, x, scales.dequantize(buffers.y, buffers.sfy))}
