"""Engine: base class for the rules of an engine for a model at one parallel setting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from attrs import frozen

from kregistry.errors import InputError
from kregistry.hf_config.call_site import Rows, Verdict
from kregistry.hf_config.config import ModelConfig
from kregistry.hf_config.deployment import Deployment
from kregistry.hf_config.model_family import Experts, Linear, Special
from kregistry.hf_config.quantization import BLOCK

#: DeepGEMM's alignment of the rows of each group in contiguous layouts.
ALIGNMENT = 128


@frozen
class Layout:
    """The parallel layout that formulas see (:data:`kregistry.hf_config.model_family.LAYOUT_SYMBOLS`).

    Attributes:
        attention: ranks that share attention heads, ``A``.
        dense: ranks that share a dense MLP, ``T``.
        shared: ranks that share the shared expert, ``S``.
        ep: ranks that the experts are spread over.
        moe_tp: ranks that share one expert.
        fused: shared experts that are fused into the routed ones.
        redundant: redundant experts of the load balancer, over all ranks.
    """

    attention: int
    dense: int
    shared: int
    ep: int
    moe_tp: int
    fused: int = 0
    redundant: int = 0

    def symbols(self) -> dict[str, int]:
        return {
            "A": self.attention,
            "T": self.dense,
            "S": self.shared,
            "ep": self.ep,
            "moe_tp": self.moe_tp,
            "fused": self.fused,
            "redundant": self.redundant,
        }


@frozen
class Decision:
    """An engine's verdict on one layer; ``rule`` names the rule, ``reason`` explains it."""

    verdict: Verdict
    reason: str = ""
    rule: str = ""


GOES = Decision(Verdict.DEEP_GEMM)


@frozen
class MoeShape:
    """The sizes of the routed experts that an engine's rules need.

    Attributes:
        intermediate: columns of one expert's intermediate state on one rank.
        hidden: columns of the model's state.
        groups: experts on one rank, fused and redundant ones included.
        experts: routed experts of the model, fused ones included.
        top_k: experts that a token is sent to, fused ones included.
    """

    intermediate: int
    hidden: int
    groups: int
    experts: int
    top_k: int


class Engine(ABC):
    """The rules of one engine for one model and setting.

    Args:
        deployment: the setting.
        config: the model.
        experts: routed experts of the model; 0 for a dense one.
        shared_experts: shared experts of the model.

    Raises:
        InputError: the engine refuses the setting for this model.
    """

    name: ClassVar[str]
    version: ClassVar[str]

    def __init__(self, deployment: Deployment, config: ModelConfig, experts: int, shared_experts: int) -> None:
        self.deployment = deployment
        self.config = config
        self.experts = experts
        self.shared_experts = shared_experts
        #: Notes on the changes that the engine makes to the setting.
        self.notes: list[str] = []
        self.layout = self._layout()

    @abstractmethod
    def _layout(self) -> Layout:
        """The parallel layout, after the engine's own adjustments."""

    @abstractmethod
    def block_decision(self, reason: str) -> Decision:
        """The verdict on a weight whose part on a rank is not a multiple of the block."""

    @abstractmethod
    def experts_decision(self, moe: MoeShape, layer: Experts) -> Decision:
        """Whether the routed experts go to DeepGEMM."""

    @abstractmethod
    def special_decision(self, layer: Special) -> Decision:
        """Whether a call beyond the linear layers and experts goes to DeepGEMM."""

    @abstractmethod
    def expert_kernel_types(self) -> tuple[str, ...]:
        """The grouped layouts in use: ``contiguous``, ``masked`` or both."""

    @abstractmethod
    def linear_rows(self, layer: Linear | Special, factor: int) -> Rows:
        """The range of m of a linear layer whose m is ``factor`` times the tokens."""

    @abstractmethod
    def expert_rows(self, kind: str, moe: MoeShape) -> Rows:
        """The range of the run-time dimension of a grouped layout."""

    # ---- common to the engines -------------------------------------------------------------------------------

    def linear_decision(self, layer: Linear, n: int, k: int, parts: tuple[int, ...], ways: int) -> Decision:
        """Whether a linear layer goes to DeepGEMM.

        Source: SGLang 0.5.23 ``layers/quantization/fp8_utils.py`` (``validate_fp8_block_shape``,
        ``_deepgemm_block_fp8_supported``); vLLM 0.33.0 ``utils/deep_gemm.py`` (``should_use_deepgemm_for_fp8_linear``).
        """
        quantization = self.config.quantization
        if not quantization.quantized:
            return Decision(Verdict.NOT_QUANTIZED, "the checkpoint is unquantised: a BF16 matrix product", "bf16")
        skipped = quantization.skips(layer.weights)
        if skipped:
            return Decision(Verdict.NOT_QUANTIZED, f"kept in BF16 by the checkpoint ({skipped})", "bf16")
        if quantization.block is None:
            return Decision(Verdict.OTHER_BACKEND, f"weights are {quantization.scheme}: not FP8 in blocks", "scheme")
        if quantization.block != BLOCK:
            return Decision(
                Verdict.OTHER_BACKEND,
                f"weights are {quantization.scheme}: kernels for this block are not described yet",
                "scheme",
            )
        if layer.block_rule:
            fault = _block_fault(layer, k, parts, ways)
            if fault:
                return self.block_decision(fault)
        if n % 64 or k % 128:
            fault = f"n = {n} is no multiple of 64" if n % 64 else f"k = {k} is no multiple of 128"
            return Decision(Verdict.OTHER_BACKEND, f"{fault}: {self.name} falls back to another kernel", "alignment")
        return GOES

    def check_experts(self, ranks: int, ep: int) -> None:
        """
        Raises:
            InputError: the experts cannot be spread over the ranks.
        """
        if not self.experts:
            return
        total = self.experts + self.deployment.redundant_experts
        if ep > total:
            raise InputError(
                f"ep {ep} is more than the {total} experts of {self.config.architecture}",
                f"choose ep <= {total}",
            )
        if total % ep:
            raise InputError(
                f"{total} experts cannot be spread evenly over ep {ep}",
                f"choose a divisor of {total}, or add --redundant-experts {-total % ep}",
            )
        if ranks % ep:
            raise InputError(f"ep {ep} does not divide the {ranks} ranks that hold experts")


def _block_fault(layer: Linear, k: int, parts: tuple[int, ...], ways: int) -> str:
    """The part of a weight on one rank that is not a multiple of the quantisation block; empty if there is none.

    A merged layer that is not split may end in a shorter part (kv_a_proj: 576 rows).
    """
    if layer.split == "row" and ways > 1 and k % BLOCK[1]:
        return f"k = {k} of this rank is no multiple of the block's {BLOCK[1]} columns"
    cut = layer.split == "column" and ways > 1
    for part in parts if cut else parts[:-1]:
        if part % BLOCK[0]:
            return f"{part} output rows of this rank are no multiple of the block's {BLOCK[0]}"
    return ""
