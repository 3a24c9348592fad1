"""``fp8_fp4_mega_moe`` and ``bf16_mega_moe``: the mega MoE of SM100; see moe.py, and moe_nvfp4.py for the third."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import evolve

from kregistry import ArchSupport, Arguments, Buffers, BufferSpec, Call, Dimension, Shape, ShapeError, Size, Value
from kregistry_plugins import installed
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.mega import moe, sm100_buffer, symmetric_buffer
from kregistry_plugins.mega.sm100_buffer import Elements
from kregistry_plugins.mega.symmetric_buffer import Slot

if TYPE_CHECKING:
    import torch

_GROUP = 32
_HIDDEN = Size("hidden", "columns of a token", "columns", multiple_of=512)
_INTERMEDIATE = Size("intermediate", "columns between the two GEMMs", "columns", multiple_of=512)
SETTINGS = (
    symmetric_buffer.MAX_TOKENS,
    symmetric_buffer.NUM_RANKS,
    symmetric_buffer.CLAMP,
    symmetric_buffer.FAST_MATH,
)
SHARED_EXPERTS = Size(
    "num_shared_experts",
    "shared experts that the launch computes too, with FP8 weights (DeepGEMM 0.2)",
    "experts",
    default=0,
    minimum=0,
)
SMALL = {"num_experts": 4, "top_k": 2, "hidden": 512, "intermediate": 512, "max_tokens": 384}


class Sm100MegaMoe(moe.MegaMoe):
    """The dimensions and the symmetric buffer."""

    elements: ClassVar[Elements]

    dimensions: ClassVar[tuple[Dimension, ...]] = (
        symmetric_buffer.NUM_EXPERTS,
        symmetric_buffer.TOP_K,
        _HIDDEN,
        _INTERMEDIATE,
        *SETTINGS,
    )
    archs = (ArchSupport("sm100"),)
    proof = evolve(
        moe.MegaMoe.proof,
        examples=(
            SMALL,
            {**SMALL, "num_experts": 3, "top_k": 3, "activation_clamp": 1},
            {**SMALL, "top_k": 4, "num_ranks": 2},
        ),
    )

    def buffer_bytes(self, shape: Shape) -> int:
        return sm100_buffer.buffer_bytes(shape, self.elements)

    def slots(self, shape: Shape) -> Mapping[str, Slot]:
        return sm100_buffer.input_slots(shape, self.elements)

    def execute(self, buffers: Buffers, m: int) -> Any:
        with _no_daemon():
            return super().execute(buffers, m)

    def ring_tokens(self, shape: Shape) -> int | None:
        return sm100_buffer.ring_tokens(shape) if installed.is_first_series() else None


class Fp8Fp4MegaMoe(Sm100MegaMoe):
    """FP8 tokens by FP4 weights, UE8M0 scale factors for 32 columns."""

    name = "fp8_fp4_mega_moe"
    summary = "whole MoE layer in one launch, FP8 tokens, FP4 weights (SM100, expert parallel)"
    mma_type = "fp8xfp4"
    elements = Elements("float8_e4m3fn", 8, _GROUP)
    function_names = ("fp8_fp4_mega_moe",)
    dimensions = (*Sm100MegaMoe.dimensions, SHARED_EXPERTS)

    def check(self, shape: Shape) -> None:
        super().check(shape)
        if shape.num_shared_experts and installed.is_first_series():
            raise ShapeError(self.name, SHARED_EXPERTS.name, "DeepGEMM 0.1 computes no shared experts", "leave it out")

    def shared_experts_of(self, call: Arguments) -> Mapping[str, Value]:
        """From the rows of the shared weights, which are the first argument after the buffer, or given by name."""
        weights = call.others_by_name.get("shared_l1_weights", call.others[0] if call.others else None)
        if not isinstance(weights, tuple) or weights[0].ndim != 2 or installed.is_first_series():
            return super().shared_experts_of(call)
        return {SHARED_EXPERTS.name: weights[0].shape[0] // call.l1_weights[0].shape[1]}

    def arguments(self, buffers: Buffers, m: int) -> Call:
        call = super().arguments(buffers, m)
        if not buffers.shape.num_shared_experts:
            return call
        shared = {
            "shared_l1_weights": (buffers.shared_l1, buffers.shared_l1_scales),
            "shared_l2_weights": (buffers.shared_l2, buffers.shared_l2_scales),
        }
        return evolve(call, kwargs={**call.kwargs, **shared})

    def buffer_bytes(self, shape: Shape) -> int:
        """Shared experts have slots of their own (measured with ``get_symm_buffer_size_for_mega_moe`` of 0.2.3)."""
        count = int(shape.num_shared_experts)
        slots = 5 * int(shape.hidden) + 3 * int(shape.intermediate) * count if count else 0
        return super().buffer_bytes(shape) + int(shape.max_tokens) * slots // 2

    def weights(self, shape: Shape, experts: int) -> Mapping[str, BufferSpec]:
        hidden, intermediate = shape.hidden, shape.intermediate

        def packed(rows: int, columns: int) -> BufferSpec:
            return evolve(scales.row_scales("ue8m0", rows, columns, experts, _GROUP), role="weight")

        return {
            "l1_weights": BufferSpec((experts, 2 * intermediate, hidden // 2), "int8", "weight"),
            "l1_scales": packed(2 * intermediate, hidden),
            "l2_weights": BufferSpec((experts, hidden, intermediate // 2), "int8", "weight"),
            "l2_scales": packed(hidden, intermediate),
            **self._shared_weights(shape),
        }

    @staticmethod
    def _shared_weights(shape: Shape) -> Mapping[str, BufferSpec]:
        hidden, inner = int(shape.hidden), int(shape.intermediate) * int(shape.num_shared_experts)
        if not inner:
            return {}

        def scale_factors(rows: int, columns: int) -> BufferSpec:
            return evolve(scales.row_scales("ue8m0", rows, columns, group=_GROUP), role="weight")

        return {
            "shared_l1": BufferSpec((2 * inner, hidden), "float8_e4m3fn", "weight"),
            "shared_l1_scales": scale_factors(2 * inner, hidden),
            "shared_l2": BufferSpec((hidden, inner), "float8_e4m3fn", "weight"),
            "shared_l2_scales": scale_factors(hidden, inner),
        }

    def fill_weights(self, buffers: Buffers, l1: torch.Tensor, l2: torch.Tensor) -> None:
        scales.quantize_rows(moe.interleaved(l1), buffers.l1_weights, buffers.l1_scales, _GROUP)
        scales.quantize_rows(l2, buffers.l2_weights, buffers.l2_scales, _GROUP)
        for scale_factors in (buffers.l1_scales, buffers.l2_scales):
            scale_factors.copy_(paged(scale_factors))

    def expert(self, buffers: Buffers, expert: int) -> tuple[torch.Tensor, torch.Tensor]:
        l1_scales, l2_scales = (unpaged(each[expert]) for each in (buffers.l1_scales, buffers.l2_scales))
        l1 = scales.dequantize(buffers.l1_weights[expert], l1_scales, _GROUP)
        return moe.plain(l1), scales.dequantize(buffers.l2_weights[expert], l2_scales, _GROUP)

    def fill_tokens(self, inputs: Mapping[str, torch.Tensor], values: torch.Tensor) -> None:
        scales.quantize_rows(values, inputs["x"], inputs["x_sf"], _GROUP)

    def tokens(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return scales.dequantize(inputs["x"], inputs["x_sf"], _GROUP)


class Bf16MegaMoe(Sm100MegaMoe):
    """No scale factors."""

    name = "bf16_mega_moe"
    summary = "whole MoE layer in one launch, BF16 tokens and weights (SM100, expert parallel)"
    mma_type = "bf16xbf16"
    elements = Elements("bfloat16", 16)
    function_names = ("bf16_mega_moe",)

    def weights(self, shape: Shape, experts: int) -> Mapping[str, BufferSpec]:
        return {
            "l1_weights": BufferSpec((experts, 2 * shape.intermediate, shape.hidden), "bfloat16", "weight"),
            "l2_weights": BufferSpec((experts, shape.hidden, shape.intermediate), "bfloat16", "weight"),
        }

    def pass_weights(self, buffers: Buffers) -> tuple[Any, Any]:
        return buffers.l1_weights, buffers.l2_weights

    def fill_weights(self, buffers: Buffers, l1: torch.Tensor, l2: torch.Tensor) -> None:
        buffers.l1_weights.copy_(moe.interleaved(l1))
        buffers.l2_weights.copy_(l2)

    def expert(self, buffers: Buffers, expert: int) -> tuple[torch.Tensor, torch.Tensor]:
        return moe.plain(buffers.l1_weights[expert]).float(), buffers.l2_weights[expert].float()

    def fill_tokens(self, inputs: Mapping[str, torch.Tensor], values: torch.Tensor) -> None:
        inputs["x"].copy_(values)

    def tokens(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return inputs["x"].float()


@contextmanager
def _no_daemon() -> Iterator[None]:
    """Later versions of DeepGEMM 0.2 look for partitioned GPUs, for which they start ``nvidia-cuda-mps-control``."""
    mlopart = _partitions()
    if mlopart is None:
        yield
        return
    before = mlopart.is_available
    mlopart.is_available = lambda *_: False
    try:
        yield
    finally:
        mlopart.is_available = before


@lru_cache(maxsize=1)
def _partitions() -> Any:
    """The module that looks for them, where DeepGEMM has it."""
    if find_spec("deep_gemm") is None or find_spec("deep_gemm.utils.mlopart") is None:
        return None
    return import_module("deep_gemm.utils.mlopart")


def paged(scale_factors: torch.Tensor) -> torch.Tensor:
    """Scale factors as the tensor cores read them: in each 128 rows, row 32 i + j moves to 4 j + i."""
    pages = scale_factors.unflatten(-2, (-1, 4, 32))
    return pages.transpose(-3, -2).flatten(-4, -2).clone()


def unpaged(scale_factors: torch.Tensor) -> torch.Tensor:
    """The inverse."""
    pages = scale_factors.unflatten(-2, (-1, 32, 4))
    return pages.transpose(-3, -2).flatten(-4, -2)
