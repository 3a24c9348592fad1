"""``bf16_mega_gate``: the router of a mixture of experts in one launch: GEMM, scores, top-k and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from kregistry import (
    DETERMINISTIC,
    NUM_SMS,
    ArchSupport,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    Choice,
    Flag,
    KernelType,
    Proof,
    RunDimension,
    Shape,
    ShapeError,
    Signature,
    Size,
    Value,
)
from kregistry_plugins import calls
from kregistry_plugins.fp8_gemm import scales

if TYPE_CHECKING:
    import torch

#: The most experts of a launch on two SMs (measured).
_EXPERTS_OF_TWO_SMS = 256
_MAX_EXPERTS = 512
_MAX_TOP_K = 32
_SCALING = 2.5
#: Tensors of a call that is no plain router.
_UNCLAIMED = (
    "mask",
    "image_bias",
    "image_token_mask",
    "fix_routing_mask",
    "to_physical_map",
    "unmapped_topk_idx",
    "force_random",
)

# What DeepGEMM allocates (measured on the stub GPU, DeepGEMM 0.2.3): scores of whole tiles of tokens and experts, once
# for each of at most 16 parts of k, as many as there are SMs for, and once in a process the barriers.
_TILE_TOKENS = 64
_TILE_EXPERTS = 128
_SPARE_TOKENS = 256
_MOST_PARTS = 16
_BARRIER_BYTES = 8 << 20


class Bf16MegaGate(KernelType):
    """Claims the plain router: no mask, no map to physical experts, no shared experts, no bias for images."""

    name = "bf16_mega_gate"
    summary = "MoE router in one launch: BF16 GEMM, scores, top-k and weights (SM100)"
    dimensions = (
        Size("hidden", "columns of a token", "columns", multiple_of=256),
        Size("num_experts", "routed experts, 512 at most", "experts", multiple_of=4),
        Size("top_k", "experts of a token, 32 at most", "experts"),
        Choice(
            "scoring",
            "scoring_func: what makes a score of a logit",
            ("identity", "sigmoid", "sqrtsoftplus"),
            default="identity",
        ),
        Flag("bias", "whether a bias takes part in the choice of experts", default=True),
    )
    settings = (DETERMINISTIC, NUM_SMS)
    run_dimension = RunDimension("tokens", "tokens of one step", "rows")
    function_names = ("bf16_mega_gate",)
    signature = Signature(
        "x, weight, num_topk, use_shared_as_routed, num_shared_experts, routed_scaling_factor, ep_rank, "
        "scoring_func='identity', mask=None, bias=None, image_bias=None, image_token_mask=None, "
        "fix_routing_mask=None, to_physical_map=None, logical_count=None, unmapped_topk_idx=None, "
        "force_random=None, out=None"
    )
    without_effect: ClassVar[Mapping[str, tuple[str, ...]]] = {"out": ()}
    archs = (
        ArchSupport(
            "sm100",
            ">=0.2,!=0.2.5",
            "DeepGEMM 0.1 has no bf16_mega_gate; 0.2.5 asserts scoring_func == 'sqrtsoftplus' (mega_gate.hpp)",
        ),
    )
    handles_empty = ""
    proof = Proof(
        input_exponent=1,
        input_reason="a sigmoid saturates, and equal scores have no order",
        examples=(
            {"hidden": 512, "num_experts": 256, "top_k": 8},
            {"hidden": 256, "num_experts": 60, "top_k": 3, "scoring": "sigmoid", "bias": False},
            {"hidden": 1024, "num_experts": 384, "top_k": 6, "scoring": "sqrtsoftplus"},
        ),
    )

    def check(self, shape: Shape) -> None:
        limits = {"num_experts": _MAX_EXPERTS, "top_k": min(_MAX_TOP_K, shape.num_experts)}
        for name, limit in limits.items():
            if shape[name] > limit:
                raise ShapeError(self.name, name, f"{shape[name]} is more than the {limit} that DeepGEMM takes")
        if shape.num_experts > _EXPERTS_OF_TWO_SMS and shape.num_sms < 4:
            text = (
                f"{shape.num_sms} is too few for more than {_EXPERTS_OF_TWO_SMS} experts (DeepGEMM: candidates.empty())"
            )
            raise ShapeError(self.name, "num_sms", text, "say 4 or more")

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        specs = {
            "x": BufferSpec((max_m, shape.hidden), "bfloat16"),
            "weight": BufferSpec((shape.num_experts, shape.hidden), "bfloat16", "weight"),
            "topk_idx": BufferSpec((max_m, shape.top_k), "int64", "output"),
            "topk_weights": BufferSpec((max_m, shape.top_k), "float32", "output"),
        }
        if shape.bias:
            specs["bias"] = BufferSpec((shape.num_experts,), "float32", "weight")
        return specs

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        """An upper bound: the number of parts is DeepGEMM's choice."""
        tiles = scales.ceil_div(max_m, _TILE_TOKENS)
        parts = max(1, min(_MOST_PARTS, 2 * shape.target.num_sms // tiles))
        scores = (tiles * _TILE_TOKENS + _SPARE_TOKENS) * scales.align(shape.num_experts, _TILE_EXPERTS)
        return 4 * scores * parts + _BARRIER_BYTES + 4 * max_m

    def arguments(self, buffers: Buffers, m: int) -> Call:
        shape = buffers.shape
        out = (buffers.topk_idx[:m], buffers.topk_weights[:m])
        plain = (shape.top_k, False, 0, _SCALING, 0, shape.scoring)
        return Call((buffers.x[:m], buffers.weight, *plain), {"bias": buffers.tensors.get("bias"), "out": out})

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        calls.belongs(self.name, "num_shared_experts", call.num_shared_experts, (0,))
        for name in _UNCLAIMED:
            tensor = getattr(call, name)
            calls.belongs(self.name, name, "none" if tensor is None else "a tensor", ("none",))
        experts, hidden = call.weight.shape
        return {
            "hidden": hidden,
            "num_experts": experts,
            "top_k": call.num_topk,
            "scoring": call.scoring_func,
            "bias": call.bias is not None,
        }

    def empty_result(self, call: Arguments) -> Any:
        """Experts and weights of no tokens: ``out`` if it is given, as of a launch."""
        import torch

        if call.out is not None:
            return call.out
        experts = call.x.new_empty((0, call.num_topk), dtype=torch.int64)
        return experts, experts.new_empty(experts.shape, dtype=torch.float32)

    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """The weight of every expert, so that the order of a token's experts, and a tie, make no difference."""
        weights = buffers.topk_weights[:m]
        chosen = buffers.topk_idx[:m].clamp(0, buffers.shape.num_experts - 1)
        return {"weights": weights.new_zeros(m, buffers.shape.num_experts).scatter(1, chosen, weights)}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.x[:m].normal_(generator=generator)
        # Logits of the size of one: those chosen are positive, so that their sum is no small difference.
        buffers.weight.normal_(std=buffers.shape.hidden**-0.5, generator=generator)
        if buffers.shape.bias:
            buffers.bias.normal_(std=0.1, generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        scores = buffers.x[:m].float() @ buffers.weight.float().T
        if buffers.shape.scoring == "sigmoid":
            scores = scores.sigmoid()
        elif buffers.shape.scoring == "sqrtsoftplus":
            scores = torch.nn.functional.softplus(scores).sqrt()
        biased = scores + buffers.bias if buffers.shape.bias else scores
        chosen = biased.topk(buffers.shape.top_k, -1).indices
        weights = scores.gather(1, chosen)
        weights = weights / weights.sum(-1, keepdim=True) * _SCALING
        return {"weights": torch.zeros_like(scores).scatter(1, chosen, weights)}
