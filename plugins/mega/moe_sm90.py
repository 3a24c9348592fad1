"""``fp8_mega_moe``: a whole mixture-of-experts layer of SM90 in one launch.

Tokens are sent to the ranks of their experts, go through two FP8 GEMMs with SwiGLU between them, and come back to be
added up. The launch reads them from the symmetric buffer, where ``mega_moe_pre_dispatch_sm90`` has put them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kregistry import (
    ArchSupport,
    Buffers,
    BufferSpec,
    Call,
    Dimension,
    EmptyInput,
    KernelType,
    Shape,
    ShapeError,
    Tolerance,
    Value,
)
from kregistry_plugins import settings
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.mega import sm90_buffer, symmetric_buffer
from kregistry_plugins.mega.symmetric_buffer import SymmetricBuffer

if TYPE_CHECKING:
    import torch

Weights = tuple["torch.Tensor", "torch.Tensor"]

#: The L2 barrier of a token block has a bit for every 64 columns (``intermediate_hidden / 64 <= 64``, sm90_mega.hpp).
_MAX_INTERMEDIATE = 4096
#: Rows of the gate and of the up projection take turns by so many (``transform_weights_for_mega_moe_sm90``).
_INTERLEAVED_ROWS = 8


@settings.follows_num_sms
class Fp8MegaMoe(KernelType):
    """FP8 weights with FP32 scale factors for blocks of 128x128; one GPU can launch it as a group of one rank."""

    name = "fp8_mega_moe"
    summary = "whole MoE layer in one launch, FP8 tokens and weights (SM90, expert parallel)"
    dimensions = (
        symmetric_buffer.NUM_EXPERTS,
        symmetric_buffer.TOP_K,
        Dimension("hidden", "columns of a token", "columns", multiple_of=512),
        Dimension("intermediate", "columns between the two GEMMs, 4096 at most", "columns", multiple_of=256),
        symmetric_buffer.MAX_TOKENS,
        symmetric_buffer.NUM_RANKS,
        symmetric_buffer.CLAMP,
        symmetric_buffer.FAST_MATH,
    )
    run_dimension = symmetric_buffer.TOKENS
    function_names = ("fp8_mega_moe",)
    archs = (ArchSupport("sm90"),)
    empty_input = EmptyInput.LAUNCH
    # The launch rounds what is between the GEMMs to FP8 and adds up BF16; the reference does neither.
    tolerance = Tolerance(3e-3)
    examples = (
        {"num_experts": 8, "top_k": 2, "hidden": 512, "intermediate": 256, "max_tokens": 384},
        {"num_experts": 3, "top_k": 3, "hidden": 1024, "intermediate": 512, "max_tokens": 768, "activation_clamp": 1},
        {"num_experts": 8, "top_k": 4, "hidden": 512, "intermediate": 256, "max_tokens": 384, "num_ranks": 2},
    )

    def check(self, shape: Shape) -> None:
        symmetric_buffer.check_ranks(self.name, shape)
        if shape.intermediate > _MAX_INTERMEDIATE:
            text = f"{shape.intermediate} is more than the {_MAX_INTERMEDIATE} that DeepGEMM takes"
            raise ShapeError(self.name, "intermediate", text)

    def collective(self, shape: Shape) -> str | None:
        return symmetric_buffer.partners(shape)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        experts = shape.num_experts // shape.num_ranks
        hidden, intermediate = shape.hidden, shape.intermediate
        return {
            "y": BufferSpec((max_m, hidden), "bfloat16", "output"),
            "l1_weights": BufferSpec((experts, 2 * intermediate, hidden), "float8_e4m3fn", "weight"),
            "l1_scales": scales.weight_scales("f32", 2 * intermediate, hidden, experts),
            "l2_weights": BufferSpec((experts, hidden, intermediate), "float8_e4m3fn", "weight"),
            "l2_scales": scales.weight_scales("f32", hidden, intermediate, experts),
            # Zeros: it holds counters that the ranks wait for.
            "symmetric": BufferSpec((sm90_buffer.buffer_bytes(shape),), "int8", initial=0),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        shape = buffers.shape
        weights = ((buffers.l1_weights, buffers.l1_scales), (buffers.l2_weights, buffers.l2_scales))
        symmetric = symmetric_buffer.symmetric_buffer(shape, buffers.symmetric, "fp8xfp8")
        clamp = None if shape.activation_clamp is None else float(shape.activation_clamp)
        return Call((buffers.y[:m], *weights, symmetric), {"activation_clamp": clamp, "fast_math": shape.fast_math})

    def read_m(self, y: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        return y.shape[0]

    def read_shape(
        self,
        y: torch.Tensor,
        l1_weights: Weights,
        l2_weights: Weights,
        sym_buffer: SymmetricBuffer,
        cumulative_local_expert_recv_stats: torch.Tensor | None = None,
        recipe: tuple[int, int, int] = (128, 128, 128),
        activation: str = "swiglu",
        activation_clamp: float | None = None,
        fast_math: bool = True,
    ) -> Mapping[str, Value]:
        _, hidden, intermediate = l2_weights[0].shape
        return {
            **symmetric_buffer.routing_of(self.name, sym_buffer),
            "hidden": hidden,
            "intermediate": intermediate,
            "activation_clamp": symmetric_buffer.clamp_of(self.name, activation_clamp),
            "fast_math": fast_math,
        }

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"y": buffers.y[:m]}

    def writable(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"y": buffers.y[:m], "symmetric": buffers.symmetric}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        import torch

        def normal(*size: int) -> torch.Tensor:
            return torch.randn(size, device=generator.device, generator=generator)

        shape, inputs = buffers.shape, _inputs(buffers, m)
        scales.quantize_rows(normal(m, shape.hidden), inputs["x"], inputs["x_sf"])
        choice = torch.rand((m, shape.num_experts), device=generator.device, generator=generator)
        inputs["topk_idx"].copy_(choice.argsort(-1)[:, : shape.top_k])
        inputs["topk_weights"].uniform_(generator=generator)
        # A gate of the size of one is neither all on nor all off.
        weight = normal(*buffers.l1_weights.shape) * shape.hidden**-0.5
        scales.quantize_blocks(weight, buffers.l1_weights, buffers.l1_scales)
        buffers.l1_weights.copy_(_interleaved(buffers.l1_weights))
        scales.quantize_blocks(normal(*buffers.l2_weights.shape), buffers.l2_weights, buffers.l2_scales)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """What the experts of this rank add up to: all of it in a group of one rank."""
        import torch

        clamp, inputs = buffers.shape.activation_clamp, _inputs(buffers, m)
        x = scales.dequantize(inputs["x"], inputs["x_sf"])
        y = torch.zeros(x.shape, device=x.device)
        for expert in range(len(buffers.l1_weights)):
            token, choice = (inputs["topk_idx"] == expert).nonzero(as_tuple=True)
            l1_weight = _plain(buffers.l1_weights[expert])
            gate, up = (x[token] @ scales.dequantize(l1_weight, buffers.l1_scales[expert]).T).chunk(2, -1)
            if clamp is not None:
                gate, up = gate.clamp(max=clamp), up.clamp(-clamp, clamp)
            middle = torch.nn.functional.silu(gate) * up
            out = middle @ scales.dequantize(buffers.l2_weights[expert], buffers.l2_scales[expert]).T
            y.index_add_(0, token, out * inputs["topk_weights"][token, choice].unsqueeze(-1))
        return {"y": y}


def _inputs(buffers: Buffers, m: int) -> dict[str, torch.Tensor]:
    """The first m rows of the input slots."""
    slots = sm90_buffer.input_slots(buffers.shape)
    return {name: slot.view(buffers.symmetric)[:m] for name, slot in slots.items()}


def _interleaved(weight: torch.Tensor) -> torch.Tensor:
    """[..., 2 * intermediate, hidden]: the rows of gate and up, 8 of each in turn, as the kernel wants them."""
    halves = weight.unflatten(-2, (2, -1, _INTERLEAVED_ROWS))
    return halves.transpose(-4, -3).flatten(-4, -2).clone()


def _plain(weight: torch.Tensor) -> torch.Tensor:
    """The inverse: all rows of gate, then all of up."""
    halves = weight.unflatten(-2, (-1, 2, _INTERLEAVED_ROWS))
    return halves.transpose(-4, -3).flatten(-4, -2)
