"""Engine: base class for the rules of an engine for a model at one parallel setting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from attrs import frozen

from kregistry.deep_gemm.version import deep_gemm_version
from kregistry.errors import InputError
from kregistry.hf_config.call_site import CallSite, LayerVerdict, Rows
from kregistry.hf_config.config import ModelConfig
from kregistry.hf_config.deployment import Deployment
from kregistry.hf_config.engines.decision import GOES, Decision, column_fault
from kregistry.hf_config.engines.layout import Layout
from kregistry.hf_config.model_family import Experts, Linear, Special


@frozen
class SmLimit:
    """A second form of a call: an option of the engine leaves DeepGEMM fewer SMs, which changes its kernels.

    Attributes:
        label: words that are added to the label of the call.
        num_sms: the SMs that DeepGEMM may use.
        rule: the option and its arithmetic, as text.
    """

    label: str
    num_sms: int
    rule: str


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
        shared_fusion: the rule by which they are fused; see :class:`~kregistry.hf_config.model_family.Family`.

    Raises:
        InputError: the engine refuses the setting for this model.
    """

    name: ClassVar[str]
    version: ClassVar[str]

    def __init__(
        self,
        deployment: Deployment,
        config: ModelConfig,
        experts: int,
        shared_experts: int,
        shared_fusion: str = "deepseek",
    ) -> None:
        self.deployment = deployment
        self.config = config
        self.experts = experts
        self.shared_experts = shared_experts
        self.shared_fusion = shared_fusion
        #: Notes on the changes that the engine makes to the setting.
        self.notes: list[str] = []
        self.layout = self._layout()

    @abstractmethod
    def _layout(self) -> Layout:
        """The parallel layout, after the engine's own adjustments."""

    @abstractmethod
    def block_decision(self, layer: Linear, k: int, parts: tuple[int, ...], ways: int) -> Decision | None:
        """The verdict on a weight whose parts on a rank are not multiples of the block; ``None`` if it loads."""

    @abstractmethod
    def experts_decision(self, moe: MoeShape, layer: Experts) -> Decision:
        """Whether the routed experts go to DeepGEMM."""

    @abstractmethod
    def bf16_experts_decision(self) -> Decision:
        """Whether routed experts in BF16 go to DeepGEMM."""

    @abstractmethod
    def special_decision(self, layer: Special) -> Decision:
        """Whether a call beyond the linear layers and experts goes to DeepGEMM."""

    @abstractmethod
    def expert_kernel_types(self) -> tuple[str, ...]:
        """The grouped layouts in use: ``contiguous``, ``masked`` or both."""

    def expert_settings(self, kind: str) -> Mapping[str, bool]:
        """Further dimensions of the calls of experts in a grouped layout."""
        return {}

    @abstractmethod
    def linear_rows(self, layer: Linear | Special, factor: int) -> Rows:
        """The range of m of a linear layer whose m is ``factor`` times the tokens."""

    @abstractmethod
    def expert_rows(self, kind: str, moe: MoeShape) -> Rows:
        """The range of the run-time dimension of a grouped layout."""

    @abstractmethod
    def dense_kernel_type(self, layer: Linear, n: int, k: int) -> str | Decision:
        """The kernel type of a quantised linear layer, or the reason why another backend computes it."""

    @abstractmethod
    def loads(self, sites: Sequence[CallSite]) -> Iterator[CallSite]:
        """Calls that the engine makes while it loads the weights of the sites that go to DeepGEMM."""

    def sm_limits(self, layer: Linear | Experts | Special, kind: str = "") -> tuple[SmLimit, ...]:
        """Forms of a call with fewer SMs; ``kind`` is the grouped layout of experts."""
        return ()

    def padded_intermediate(self, intermediate: int, block: int) -> int:
        """The columns of an expert on one rank, after the engine has padded them."""
        return intermediate

    # ---- common to the engines -------------------------------------------------------------------------------

    def linear_decision(self, layer: Linear, n: int, k: int, parts: tuple[int, ...], ways: int) -> Decision:
        """Whether a linear layer goes to DeepGEMM.

        Source: SGLang 0.5.23 ``layers/quantization/fp8_utils.py`` (``validate_fp8_block_shape``,
        ``_deepgemm_block_fp8_supported``); vLLM 0.33.0 ``utils/deep_gemm.py`` (``should_use_deepgemm_for_fp8_linear``).
        """
        quantization = self.config.quantization.of(layer.weights)
        if not quantization.quantized:
            return Decision(LayerVerdict.NOT_QUANTIZED, "the checkpoint is unquantised: a BF16 matrix product", "bf16")
        skipped = quantization.skips(layer.weights)
        if skipped:
            return Decision(LayerVerdict.NOT_QUANTIZED, f"kept in BF16 by the checkpoint ({skipped})", "bf16")
        if quantization.block is None:
            return Decision(
                LayerVerdict.OTHER_BACKEND, f"weights are {quantization.scheme}: not FP8 in blocks", "scheme"
            )
        if layer.block_rule == "unquantized":
            fault = column_fault(parts, quantization.block[0])
            if fault:
                return Decision(LayerVerdict.NOT_QUANTIZED, f"BF16 in every checkpoint that loads: {fault}", "bf16")
        elif layer.block_rule == "checked":
            refused = self.block_decision(layer, k, parts, ways)
            if refused is not None:
                return refused
        kernel_type = self.dense_kernel_type(layer, n, k)
        return kernel_type if isinstance(kernel_type, Decision) else GOES

    def mega_shared_experts(self) -> int:
        """Shared experts that DeepGEMM's mega MoE of FP4 experts can take into its launch: FP8 ones, since 0.2."""
        old = (deep_gemm_version() or "").startswith("0.1.")
        return 0 if old or self.config.quantization.block != (128, 128) else self.shared_experts

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
