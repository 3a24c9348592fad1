"""``fp8_einsum`` with an FP8 GEMM for each head: ``bhr,hdr->bhd`` (DeepSeek-V4's ``wo_a``) and ``bhd,hdr->bhr``."""

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
    Dimension,
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
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.fp8_gemm.dense import ALIGNMENT, Operand, magnitudes, scale_form

if TYPE_CHECKING:
    import torch

H = Size("h", "heads or groups on this rank", "heads")
R = Size("r", "rank: the last dimension of the weight", "columns", multiple_of=16)
D = Size("d", "head dimension: the middle dimension of the weight", "columns", multiple_of=16)
SCALES = Choice(
    "scales", "form of the scale factors: f32, or packed powers of two (sm100, sm120)", ("f32", "ue8m0"), default="f32"
)
SCALE_COLUMNS = Choice(
    "scale_columns",
    "columns that share a scale factor: the last number of the recipe; 32 on sm100 and sm120",
    (128, 32),
    unit="columns",
    default=128,
)
OUTPUT = Choice(
    "output", "dtype of the output; float32 on sm100 and sm120", ("bfloat16", "float32"), default="bfloat16"
)
FP8_EINSUM = Signature("expr, a, b, d, c=None, recipe=(1, 128, 128)")
SM120 = ArchSupport("sm120", ">=0.2", "DeepGEMM 0.1 has no FP8 einsum for sm120 (layout.hpp, einsum.hpp)")


class Fp8Einsum(KernelType):
    """x [b, h, summed] by y [h, d, r] to z [b, h, kept]: one of d and r is summed over."""

    expression: ClassVar[str]
    #: The dimension that is summed over, and the one that is kept.
    summed: ClassVar[str]
    kept: ClassVar[str]

    dimensions: ClassVar[tuple[Dimension, ...]] = (H, R, D, SCALES, SCALE_COLUMNS, OUTPUT)
    settings = (ALIGNMENT, NUM_SMS, *compiled_dims.SETTINGS)
    run_dimension = RunDimension("b", "tokens of one step", "rows")
    function_names = ("fp8_einsum",)
    signature = FP8_EINSUM
    handles_empty = ""
    proof = Proof(
        examples=(
            {"h": 4, "r": 512, "d": 256},
            {"h": 3, "r": 384, "d": 128},
            {"h": 2, "r": 144, "d": 80},
            {"h": 2, "r": 256, "d": 384, "scales": "ue8m0", "output": "float32"},
            {"h": 2, "r": 256, "d": 128, "scales": "ue8m0", "scale_columns": 32},
            {"h": 2, "r": 256, "d": 128, "scale_columns": 32},
        )
    )

    def check(self, shape: Shape) -> None:
        if shape.target.arch != "sm90":
            return
        for name, only in (("scales", "f32"), ("scale_columns", 128), ("output", "bfloat16")):
            if shape.get(name, only) != only:
                raise ShapeError(self.name, name, f"{shape[name]} is refused on sm90", f"leave it out, or say {only}")

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        kept = int(getattr(shape, self.kept))
        return {
            **self.operand_buffers(shape, max_m),
            "z": BufferSpec((max_m, shape.h, kept), shape.output, "output"),
        }

    def operand_buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        """x and y with their scale factors."""
        h, group = shape.h, shape.scale_columns
        summed, kept = int(getattr(shape, self.summed)), int(getattr(shape, self.kept))
        return {
            "x": BufferSpec((max_m, h, summed), "float8_e4m3fn"),
            "sfx": _row_scales(shape.scales, max_m, h, summed, group),
            "y": BufferSpec((h, shape.d, shape.r), "float8_e4m3fn", "weight"),
            "sfy": scales.weight_scales(shape.scales, kept, summed, h, group),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        x, y = (buffers.x[:m], rows_of(buffers.sfx, m)), (buffers.y, self._as_stored(buffers.sfy))
        group = buffers.shape.scale_columns
        recipe = (1, group, group) if buffers.shape.scales == "f32" else (1, 1, group)
        return Call((self.expression, x, y, self.output_at(buffers, m)), {"recipe": recipe})

    def output_at(self, buffers: Buffers, m: int) -> Any:
        """The argument that is written."""
        return buffers.z[:m]

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        """The scale factors of x and, except on SM90, of y, converted (measured on the stub GPU: an upper bound); on
        SM120 a K-major copy of a weight that is not."""
        copies: int = shape.h * shape.d * shape.r if shape.target.arch == "sm120" and self.summed == "d" else 0
        if shape.scales != "f32":
            return copies
        rows, columns = scales.align(max_m, 4), scales.ceil_div(int(getattr(shape, self.summed)), shape.scale_columns)
        converted: int = 4 * rows * shape.h * columns
        if shape.target.arch == "sm90":
            return converted
        packed, kept = scales.ceil_div(columns, 4), int(getattr(shape, self.kept))
        # While x is packed, its exponents take a byte each and a copy; after that comes y.
        while_packed = rows * (columns + 4 * packed)
        return copies + converted + shape.h * (4 * rows * packed + max(while_packed, 4 * kept * (columns + packed)))

    def read_m(self, expr: str, a: Operand, *args: Any, **kwargs: Any) -> int:
        return a[0].shape[0]

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        """Takes the calls of this expression that add to nothing and write no scale factors."""
        calls.belongs(self.name, "d", output_form(call.d), ("a tensor",))
        return {**self.read_operands(call), "output": calls.dtype_of(call.d)}

    def read_operands(self, call: Arguments) -> dict[str, Value]:
        """What a call tells apart from its output."""
        calls.belongs(self.name, "expression", call.expr, (self.expression,))
        calls.belongs(self.name, "c", None if call.c is None else "a tensor", (None,))
        form, group = scale_form(call.a[1]), tuple(call.recipe)[-1]
        wanted = (1, group, group) if form == "f32" else (1, 1, group)
        calls.belongs(self.name, "recipe", tuple(call.recipe), (wanted,))
        h, middle, last = call.b[0].shape
        return {"h": h, "r": last, "d": middle, "scales": form, "scale_columns": group}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        import torch

        x, y, shape = buffers.x[:m], self._as_stored(buffers.y), buffers.shape
        values = torch.randn(x.shape, device=generator.device, generator=generator)
        scales.quantize_rows(values, x, rows_of(buffers.sfx, m), shape.scale_columns, scales.packs(shape))
        values = torch.randn(y.shape, device=generator.device, generator=generator)
        values *= magnitudes(values.shape, generator)
        quantize = scales.quantize_blocks if shape.scales == "f32" else scales.quantize_rows
        quantize(values, y, buffers.sfy, shape.scale_columns, scales.packs(shape))

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        group = buffers.shape.scale_columns
        x = scales.dequantize(buffers.x[:m], rows_of(buffers.sfx, m), group)
        y = scales.dequantize(self._as_stored(buffers.y), buffers.sfy, group)
        return {"z": torch.einsum(self.expression, x, self._as_stored(y))}

    def _as_stored(self, weight: torch.Tensor) -> torch.Tensor:
        """[h, kept, summed] to [h, d, r] and back."""
        return weight if self.summed == "r" else weight.mT


class Fp8EinsumBhrHdrBhd(Fp8Einsum):
    """x [b, h, r] by y [h, d, r] to z [b, h, d]."""

    name = "fp8_einsum_bhr_hdr_bhd"
    summary = "FP8 einsum bhr,hdr->bhd: a GEMM for each head (DeepSeek-V4 wo_a)"
    expression = "bhr,hdr->bhd"
    summed, kept = "r", "d"
    archs = (ArchSupport("sm90"), ArchSupport("sm100"), SM120)


class Fp8EinsumBhdHdrBhr(Fp8Einsum):
    """x [b, h, d] by y [h, d, r] to z [b, h, r]."""

    name = "fp8_einsum_bhd_hdr_bhr"
    summary = "FP8 einsum bhd,hdr->bhr: a GEMM for each head, the weight transposed"
    expression = "bhd,hdr->bhr"
    summed, kept = "d", "r"
    archs = (
        ArchSupport("sm90", "none", "DeepGEMM asserts 'Unsupported einsum expression' (einsum.hpp) on sm90"),
        ArchSupport("sm100"),
        SM120,
    )


def _row_scales(form: str, rows: int, heads: int, columns: int, group: int) -> BufferSpec:
    """Scale factors [rows, heads, columns / group] of x; packed ones lie head by head, each column-major."""
    if form == "f32":
        return BufferSpec((rows, heads, scales.ceil_div(columns, group)), "float32", initial=scales.UNIT_SCALE)
    packed, stride = scales.ceil_div(columns, 4 * group), scales.align(rows, 4)
    strides = (1, packed * stride, stride)
    return BufferSpec((rows, heads, packed), "int32", strides=strides, storage=heads * packed * stride)


def output_form(d: Any) -> str:
    """How a call gives what is written, in words."""
    return "with scale factors" if isinstance(d, tuple | list) else "a tensor"


def rows_of(scale_factors: torch.Tensor, m: int) -> torch.Tensor:
    """The first ``m`` rows; packed ones are laid out anew for every m, as DeepGEMM wants them."""
    import torch

    if scale_factors.dtype == torch.float32:
        return scale_factors[:m]
    _, heads, packed = scale_factors.shape
    stride = scales.align(m, 4)
    return scale_factors.as_strided((m, heads, packed), (1, packed * stride, stride))
