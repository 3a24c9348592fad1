"""Mega MoE: a whole mixture-of-experts layer in one launch; what its kernel types share.

Tokens are sent to the ranks of their experts, go through two GEMMs with SwiGLU between them, and come back to be
added up. The launch reads them from the symmetric buffer, where ``mega_moe_pre_dispatch`` has put them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from kregistry import (
    NUM_SMS,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    EmptyInput,
    KernelType,
    Proof,
    Shape,
    Signature,
    Value,
)
from kregistry_plugins import calls
from kregistry_plugins.mega import symmetric_buffer
from kregistry_plugins.mega.symmetric_buffer import Slot

if TYPE_CHECKING:
    import torch

#: Rows of the gate projection in a row, before as many of the up projection (``transform_weights_for_mega_moe``).
_INTERLEAVED_ROWS = 8
#: ``global_num_tokens`` chooses the tile in place of the tokens of this rank.
_USUAL: Mapping[str, Any] = {
    "weight_layout": "megamoe",
    "global_num_tokens": None,
    "num_tokens_bound": None,
    "post_expert_norm": False,
    "post_expert_norm_eps": 1e-6,
    "post_expert_norm_weight": None,
    "post_expert_norm_weight_first": False,
    "use_x_scales": False,
    "l1_alphas": None,
    "l2_alphas": None,
    "l2_act_scales": None,
}


class MegaMoe(KernelType):
    """One GPU can launch it as a group of one rank; larger groups are planned and built."""

    #: Dtypes of tokens and weights, in DeepGEMM's word.
    mma_type: ClassVar[str]

    settings = (NUM_SMS,)
    run_dimension = symmetric_buffer.TOKENS
    signature = Signature(
        "y, l1_weights, l2_weights, sym_buffer, *others, activation='swiglu', activation_clamp=None, fast_math=True, "
        "**others_by_name"
    )
    empty_input = EmptyInput.LAUNCH
    # The launch rounds what is between the GEMMs and adds up BF16; the reference does neither.
    proof = Proof(
        input_exponent=2,
        input_reason="SwiGLU saturates, and what is between the GEMMs is rounded to FP8",
        tolerance=3e-3,
        tolerance_reason="a launch rounds between its GEMMs, and adds up BF16",
    )

    @abstractmethod
    def weights(self, shape: Shape, experts: int) -> Mapping[str, BufferSpec]:
        """Tensors of the experts of a rank: ``l1_weights``, ``l2_weights``, and their scale factors if any."""

    @abstractmethod
    def buffer_bytes(self, shape: Shape) -> int:
        """Bytes of the symmetric buffer."""

    @abstractmethod
    def slots(self, shape: Shape) -> Mapping[str, Slot]:
        """What a rank writes into its symmetric buffer before a launch."""

    @abstractmethod
    def fill_weights(self, buffers: Buffers, l1: torch.Tensor, l2: torch.Tensor) -> None:
        """Quantise [experts, 2 * intermediate, hidden] (all of gate, then all of up) and [experts, hidden, ...]."""

    @abstractmethod
    def expert(self, buffers: Buffers, expert: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The float32 weights of one expert, laid out as in :meth:`fill_weights`."""

    @abstractmethod
    def fill_tokens(self, inputs: Mapping[str, torch.Tensor], values: torch.Tensor) -> None:
        """Quantise tokens into their slots."""

    @abstractmethod
    def tokens(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The float32 tokens in their slots."""

    def ring_tokens(self, shape: Shape) -> int | None:
        """``num_ring_tokens`` of the symmetric buffer, where it has one."""
        return None

    def check(self, shape: Shape) -> None:
        symmetric_buffer.check_ranks(self.name, shape)

    def largest_m(self, shape: Shape) -> int | None:
        return int(shape.max_tokens)

    def collective(self, shape: Shape) -> str | None:
        return symmetric_buffer.partners(shape)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {
            "y": BufferSpec((max_m, shape.hidden), "bfloat16", "output"),
            **self.weights(shape, shape.num_experts // shape.num_ranks),
            # Zeros: it holds counters that the ranks wait for.
            "symmetric": BufferSpec((self.buffer_bytes(shape),), "int8", initial=0),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        shape = buffers.shape
        symmetric = symmetric_buffer.symmetric_buffer(shape, buffers.symmetric, self.mma_type, self.ring_tokens(shape))
        clamp = None if shape.activation_clamp is None else float(shape.activation_clamp)
        keywords = {"activation_clamp": clamp, "fast_math": shape.fast_math}
        return Call((buffers.y[:m], *self.pass_weights(buffers), symmetric), keywords)

    def pass_weights(self, buffers: Buffers) -> tuple[Any, Any]:
        """The weights of both layers as arguments."""
        return (buffers.l1_weights, buffers.l1_scales), (buffers.l2_weights, buffers.l2_scales)

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        """Takes calls without shared experts; the clamp and fast_math are read where they are given by name.

        Also refused: what DeepGEMM 0.2 takes besides, by name, since the kernel is another with each of it.
        """
        calls.belongs(self.name, "mma_type", getattr(call.sym_buffer, "mma_type", self.mma_type), (self.mma_type,))
        calls.belongs(self.name, "activation", call.activation, ("swiglu",))
        shared = self.shared_experts_of(call)
        for name, usual in _USUAL.items():
            found = call.others_by_name.get(name, usual)
            calls.belongs(self.name, name, found if found == usual else "another", (usual,))
        rows = (call.l1_weights[0] if isinstance(call.l1_weights, tuple) else call.l1_weights).shape[1]
        return {
            **symmetric_buffer.routing_of(self.name, call.sym_buffer),
            "hidden": call.y.shape[1],
            "intermediate": rows // 2,
            "activation_clamp": symmetric_buffer.clamp_of(self.name, call.activation_clamp),
            "fast_math": call.fast_math,
            **shared,
        }

    def shared_experts_of(self, call: Arguments) -> Mapping[str, Value]:
        """The dimensions of shared experts in a real call; most kernel types refuse a call that has some."""
        shared = any(_are_weights(each) for each in (*call.others, call.others_by_name.get("shared_l1_weights")))
        calls.belongs(self.name, "shared experts", "some" if shared else "none", ("none",))
        return {}

    def writable(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"y": buffers.y[:m], "symmetric": buffers.symmetric}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        import torch

        def normal(*size: int) -> torch.Tensor:
            return torch.randn(size, device=generator.device, generator=generator)

        shape, inputs = buffers.shape, self._inputs(buffers, m)
        self.fill_tokens(inputs, normal(m, shape.hidden))
        choice = torch.rand((m, shape.num_experts), device=generator.device, generator=generator)
        inputs["topk_idx"].copy_(choice.argsort(-1)[:, : shape.top_k])
        inputs["topk_weights"].uniform_(generator=generator)
        experts, hidden, intermediate = len(buffers.l1_weights), shape.hidden, shape.intermediate
        # A gate of the size of one is neither all on nor all off.
        l1 = normal(experts, 2 * intermediate, hidden) * hidden**-0.5
        self.fill_weights(buffers, l1, normal(experts, hidden, intermediate))

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """What the experts of this rank add up to: all of it in a group of one rank."""
        import torch

        clamp, inputs = buffers.shape.activation_clamp, self._inputs(buffers, m)
        x = self.tokens(inputs)
        y = torch.zeros(x.shape, device=x.device)
        for expert in range(len(buffers.l1_weights)):
            token, choice = (inputs["topk_idx"] == expert).nonzero(as_tuple=True)
            l1, l2 = self.expert(buffers, expert)
            gate, up = (x[token] @ l1.T).chunk(2, -1)
            if clamp is not None:
                gate, up = gate.clamp(max=clamp), up.clamp(-clamp, clamp)
            out = (torch.nn.functional.silu(gate) * up) @ l2.T
            y.index_add_(0, token, out * inputs["topk_weights"][token, choice].unsqueeze(-1))
        return {"y": y}

    def _inputs(self, buffers: Buffers, m: int) -> dict[str, torch.Tensor]:
        """The first m rows of the input slots."""
        return {name: slot.view(buffers.symmetric)[:m] for name, slot in self.slots(buffers.shape).items()}


def _are_weights(argument: Any) -> bool:
    """Whether an argument holds matrices; counts of received tokens have one dimension."""
    return getattr(argument[0] if isinstance(argument, tuple) else argument, "ndim", 0) > 1


def interleaved(rows: torch.Tensor) -> torch.Tensor:
    """[..., 2 * intermediate, columns]: the rows of gate and up, 8 of each in turn, as the kernels want them."""
    halves = rows.unflatten(-2, (2, -1, _INTERLEAVED_ROWS))
    return halves.transpose(-4, -3).flatten(-4, -2).clone()


def plain(rows: torch.Tensor) -> torch.Tensor:
    """The inverse: all rows of gate, then all of up."""
    halves = rows.unflatten(-2, (-1, 2, _INTERLEAVED_ROWS))
    return halves.transpose(-4, -3).flatten(-4, -2)
