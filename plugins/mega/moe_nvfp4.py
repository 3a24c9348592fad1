"""``nvfp4_mega_moe``: the mega MoE of SM100 with NVFP4 tokens and weights; see moe.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import evolve

from kregistry import ArchSupport, Arguments, Buffers, BufferSpec, Call, Flag, Shape, Size, Value
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.mega import nvfp4, sm100_buffer, symmetric_buffer
from kregistry_plugins.mega.moe_sm100 import SETTINGS, SMALL, Sm100MegaMoe, paged, unpaged
from kregistry_plugins.mega.sm100_buffer import Elements
from kregistry_plugins.mega.symmetric_buffer import Slot

if TYPE_CHECKING:
    import torch

#: Rows of the gate projection in a row, before as many of the up projection; of each, those of even number come before
#: those of odd number (``_interleave_weights_packed_fp4``).
_INTERLEAVED_ROWS = 16
#: What an activation is multiplied by, so that scale factors of small ones are no subnormal numbers.
_ACTIVATION_SCALE = 64


def _flag(name: str, meaning: str) -> Flag:
    return Flag(name, meaning, default=True)


_FACTORS = (
    _flag("l1_alphas", "whether each expert has factors of its gate and of its up projection"),
    _flag("l2_alphas", "whether each expert has a factor of its output"),
    _flag("l2_act_scales", "whether each expert has a factor of its activations, before they are quantised"),
)


class Nvfp4MegaMoe(Sm100MegaMoe):
    """Claims calls with weights as ``transform_weights_for_mega_moe`` lays them out, not those of TensorRT-LLM.

    ``l1_weights`` int8 [experts, 2 * intermediate, hidden / 2] and ``l2_weights`` [experts, hidden, intermediate / 2],
    scale factors int32 with a quarter of a word for each 16 columns, column-major; ``l1_alphas`` [experts, 2],
    ``l2_alphas`` and ``l2_act_scales`` [experts] in FP32.
    """

    name = "nvfp4_mega_moe"
    summary = "whole MoE layer in one launch, NVFP4 tokens and weights (SM100, expert parallel)"
    mma_type = "nvfp4xnvfp4"
    elements = Elements("int8", 4, nvfp4.GROUP)
    dimensions = (
        symmetric_buffer.NUM_EXPERTS,
        symmetric_buffer.TOP_K,
        Size("hidden", "columns of a token", "columns", multiple_of=256),
        Size("intermediate", "columns between the two GEMMs", "columns", multiple_of=256),
        *SETTINGS,
        _flag("use_x_scales", "whether each token has a scale factor as a whole, as the pre-dispatch makes them"),
        *_FACTORS,
    )
    function_names = ("nvfp4_mega_moe", "fp8_fp4_mega_moe")
    archs = (ArchSupport("sm100", ">=0.2", "DeepGEMM 0.1 has no nvfp4_mega_moe"),)
    # The launch quantises what is between the GEMMs to NVFP4, the reference does not: 4.6e-3 by an emulation of it.
    proof = evolve(
        Sm100MegaMoe.proof,
        tolerance=1e-2,
        examples=(
            SMALL,
            {
                **SMALL,
                "num_experts": 3,
                "top_k": 3,
                "activation_clamp": 1,
                "use_x_scales": False,
                **{each.name: False for each in _FACTORS},
            },
            {**SMALL, "hidden": 768, "intermediate": 256, "top_k": 4, "num_ranks": 2, "l2_act_scales": False},
        ),
    )

    def weights(self, shape: Shape, experts: int) -> Mapping[str, BufferSpec]:
        hidden, intermediate = shape.hidden, shape.intermediate

        def packed(rows: int, columns: int) -> BufferSpec:
            return evolve(scales.row_scales("ue8m0", rows, columns, experts, nvfp4.GROUP), role="weight")

        factors = {"l1_alphas": (experts, 2), "l2_alphas": (experts,), "l2_act_scales": (experts,)}
        return {
            "l1_weights": BufferSpec((experts, 2 * intermediate, hidden // 2), "int8", "weight"),
            "l1_scales": packed(2 * intermediate, hidden),
            "l2_weights": BufferSpec((experts, hidden, intermediate // 2), "int8", "weight"),
            "l2_scales": packed(hidden, intermediate),
            **{name: BufferSpec(size, "float32", "weight") for name, size in factors.items() if shape[name]},
        }

    def slots(self, shape: Shape) -> Mapping[str, Slot]:
        slots = super().slots(shape)
        if not shape.use_x_scales:
            return slots
        return {**slots, "x_scales": sm100_buffer.outer_scale_slot(shape, self.elements)}

    def arguments(self, buffers: Buffers, m: int) -> Call:
        call = super().arguments(buffers, m)
        factors = {each.name: buffers.tensors.get(each.name) for each in _FACTORS}
        return Call(call.args, {**call.kwargs, "use_x_scales": buffers.shape.use_x_scales, **factors})

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        named = dict(call.others_by_name)
        use_x_scales = named.pop("use_x_scales", False)
        factors = {each.name: named.pop(each.name, None) is not None for each in _FACTORS}
        plain = Arguments({**vars(call), "others_by_name": named})
        return {**super().shape_of(plain), "use_x_scales": use_x_scales, **factors}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        """The factors first, which the weights are divided by."""
        size = buffers.shape.hidden**-0.5
        for name, largest in (
            ("l1_alphas", size),
            ("l2_alphas", 1 / _ACTIVATION_SCALE),
            ("l2_act_scales", _ACTIVATION_SCALE),
        ):
            if name in buffers.tensors:
                buffers.tensors[name].uniform_(largest / 2, largest, generator=generator)
        super().fill(buffers, m, generator)

    def fill_weights(self, buffers: Buffers, l1: torch.Tensor, l2: torch.Tensor) -> None:
        nvfp4.quantize(_interleaved(l1 / _l1_factor(buffers)), buffers.l1_weights, buffers.l1_scales)
        nvfp4.quantize(l2, buffers.l2_weights, buffers.l2_scales)
        for scale_factors in (buffers.l1_scales, buffers.l2_scales):
            scale_factors.copy_(paged(scale_factors))

    def expert(self, buffers: Buffers, expert: int) -> tuple[torch.Tensor, torch.Tensor]:
        l1 = nvfp4.dequantize(buffers.l1_weights[expert], unpaged(buffers.l1_scales[expert]))
        l2 = nvfp4.dequantize(buffers.l2_weights[expert], unpaged(buffers.l2_scales[expert]))
        for name in ("l2_alphas", "l2_act_scales"):
            if name in buffers.tensors:
                l2 = l2 * buffers.tensors[name][expert]
        return _plain(l1) * _l1_factor(buffers)[expert], l2

    def fill_tokens(self, inputs: Mapping[str, torch.Tensor], values: torch.Tensor) -> None:
        if "x_scales" in inputs:
            inputs["x_scales"].copy_(nvfp4.outer_scale(values))
            values = values / inputs["x_scales"]
        nvfp4.quantize(values, inputs["x"], inputs["x_sf"])

    def tokens(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        tokens = nvfp4.dequantize(inputs["x"], inputs["x_sf"])
        return tokens * inputs["x_scales"] if "x_scales" in inputs else tokens


def _l1_factor(buffers: Buffers) -> torch.Tensor:
    """[experts, 2 * intermediate, 1]: what the product with each row is multiplied by, all of gate, then all of up."""
    import torch

    factors = buffers.tensors.get("l1_alphas")
    if factors is None:
        factors = torch.ones(len(buffers.l1_weights), 2, device=buffers.l1_weights.device)
    return factors.repeat_interleave(buffers.shape.intermediate, -1).unsqueeze(-1)


def _interleaved(rows: torch.Tensor) -> torch.Tensor:
    """[..., 2 * intermediate, columns]: of each 16 rows of gate and of up the even ones, then the odd ones."""
    parts = rows.unflatten(-2, (2, -1, _INTERLEAVED_ROWS // 2, 2))  # half, block, pair, parity
    return parts.movedim((-4, -2, -5, -3), (-5, -4, -3, -2)).flatten(-5, -2)


def _plain(rows: torch.Tensor) -> torch.Tensor:
    """The inverse: all rows of gate, then all of up."""
    parts = rows.unflatten(-2, (-1, 2, 2, _INTERLEAVED_ROWS // 2))  # block, parity, half, pair
    return parts.movedim((-5, -4, -3, -2), (-4, -2, -5, -3)).flatten(-5, -2)
