"""``fp8_mega_moe``: the mega MoE of SM90, FP8 with FP32 scale factors; see moe.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import evolve

from kregistry import ArchSupport, Buffers, BufferSpec, Shape, ShapeError, Size
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.mega import moe, sm90_buffer, symmetric_buffer
from kregistry_plugins.mega.symmetric_buffer import Slot

if TYPE_CHECKING:
    import torch

#: The L2 barrier of a token block has a bit for every 64 columns (``intermediate_hidden / 64 <= 64``, sm90_mega.hpp).
_MAX_INTERMEDIATE = 4096


class Fp8MegaMoe(moe.MegaMoe):
    """Scale factors of tokens for 128 columns, of weights for blocks of 128x128."""

    name = "fp8_mega_moe"
    summary = "whole MoE layer in one launch, FP8 tokens and weights (SM90, expert parallel)"
    mma_type = "fp8xfp8"
    dimensions = (
        symmetric_buffer.NUM_EXPERTS,
        symmetric_buffer.TOP_K,
        Size("hidden", "columns of a token", "columns", multiple_of=512),
        Size("intermediate", "columns between the two GEMMs, 4096 at most", "columns", multiple_of=256),
        symmetric_buffer.MAX_TOKENS,
        symmetric_buffer.NUM_RANKS,
        symmetric_buffer.CLAMP,
        symmetric_buffer.FAST_MATH,
    )
    function_names = ("fp8_mega_moe",)
    archs = (ArchSupport("sm90"),)
    proof = evolve(
        moe.MegaMoe.proof,
        examples=(
            {"num_experts": 4, "top_k": 2, "hidden": 512, "intermediate": 256, "max_tokens": 384},
            {
                "num_experts": 3,
                "top_k": 3,
                "hidden": 512,
                "intermediate": 512,
                "max_tokens": 768,
                "activation_clamp": 1,
            },
            {"num_experts": 4, "top_k": 4, "hidden": 512, "intermediate": 256, "max_tokens": 384, "num_ranks": 2},
        ),
    )

    def check(self, shape: Shape) -> None:
        super().check(shape)
        if shape.intermediate > _MAX_INTERMEDIATE:
            text = f"{shape.intermediate} is more than the {_MAX_INTERMEDIATE} that DeepGEMM takes"
            raise ShapeError(self.name, "intermediate", text)

    def weights(self, shape: Shape, experts: int) -> Mapping[str, BufferSpec]:
        hidden, intermediate = shape.hidden, shape.intermediate
        return {
            "l1_weights": BufferSpec((experts, 2 * intermediate, hidden), "float8_e4m3fn", "weight"),
            "l1_scales": scales.weight_scales("f32", 2 * intermediate, hidden, experts),
            "l2_weights": BufferSpec((experts, hidden, intermediate), "float8_e4m3fn", "weight"),
            "l2_scales": scales.weight_scales("f32", hidden, intermediate, experts),
        }

    def buffer_bytes(self, shape: Shape) -> int:
        return sm90_buffer.buffer_bytes(shape)

    def slots(self, shape: Shape) -> Mapping[str, Slot]:
        return sm90_buffer.input_slots(shape)

    def fill_weights(self, buffers: Buffers, l1: torch.Tensor, l2: torch.Tensor) -> None:
        scales.quantize_blocks(l1, buffers.l1_weights, buffers.l1_scales)
        # Scale factors keep their order: a block of 128 rows is all gate or all up.
        buffers.l1_weights.copy_(moe.interleaved(buffers.l1_weights))
        scales.quantize_blocks(l2, buffers.l2_weights, buffers.l2_scales)

    def expert(self, buffers: Buffers, expert: int) -> tuple[torch.Tensor, torch.Tensor]:
        l1 = scales.dequantize(moe.plain(buffers.l1_weights[expert]), buffers.l1_scales[expert])
        return l1, scales.dequantize(buffers.l2_weights[expert], buffers.l2_scales[expert])

    def fill_tokens(self, inputs: Mapping[str, torch.Tensor], values: torch.Tensor) -> None:
        scales.quantize_rows(values, inputs["x"], inputs["x_sf"])

    def tokens(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return scales.dequantize(inputs["x"], inputs["x_sf"])
