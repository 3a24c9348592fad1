"""Who computes the experts in SGLang 0.5.23: runners, fusion, mega MoE. Paths are relative to ``sglang/srt``."""

from __future__ import annotations

from attrs import frozen

from kregistry.errors import InputError
from kregistry.hf_config.config import ModelConfig
from kregistry.hf_config.deployment import Deployment

# Fp8MoEMethod.is_deepgemm_moe_runner_backend_enabled; arg_groups/moe_hook.py forces it for the last two.
_A2A_WITH_DEEP_GEMM = ("deepep", "mooncake", "nixl", "deepep_v2", "pplx")
# arg_groups/overrides.py and model_overrides/*.py: the MoE runner on SM100 where a2a is none and the runner is auto.
_SM100_RUNNERS = {
    "DeepseekV3ForCausalLM": "flashinfer_trtllm",
    "DeepseekV32ForCausalLM": "flashinfer_trtllm",
    "GlmMoeDsaForCausalLM": "flashinfer_trtllm",
    "Glm4MoeForCausalLM": "flashinfer_trtllm",
    "KimiK25ForConditionalGeneration": "flashinfer_trtllm",
    "Qwen3MoeForCausalLM": "flashinfer_trtllm",
    "Qwen3VLMoeForConditionalGeneration": "flashinfer_trtllm",
    "Qwen3NextForCausalLM": "flashinfer_trtllm",
    "Qwen3_5MoeForConditionalGeneration": "flashinfer_trtllm",
    "MiniMaxM2ForCausalLM": "flashinfer_trtllm_routed",
    "MiMoV2FlashForCausalLM": "flashinfer_trtllm",
    "MiMoV2ForCausalLM": "flashinfer_trtllm",
}
# shared_experts_fusion_disable_reason: fused by default for these, with 256 routed experts and 1 shared one.
_FUSING = ("DeepseekV3ForCausalLM", "GlmMoeDsaForCausalLM")
# models/qwen3_5.py builds its MoE block without enable_cuda_shared_expert_fusion: it fuses on AMD GPUs alone.
_APART = ("Qwen3_5MoeForConditionalGeneration", "Qwen3_5MoeForCausalLM")


@frozen
class SGLangMoe:
    """The rules for the experts of one model and setting.

    Attributes:
        deployment: the setting.
        config: the model.
        experts, shared_experts, shared_fusion: see :class:`~kregistry.hf_config.engines.engine.Engine`.
    """

    deployment: Deployment
    config: ModelConfig
    experts: int
    shared_experts: int
    shared_fusion: str

    @property
    def a2a(self) -> bool:
        """Whether an all-to-all backend sends the tokens to their experts."""
        return self.deployment.a2a != "none"

    def runner(self) -> str:
        """The MoE runner after SGLang's defaults."""
        given = self.deployment
        if given.moe_runner != "auto":
            return given.moe_runner
        if given.a2a in _A2A_WITH_DEEP_GEMM:
            return "deep_gemm"
        if self.a2a:
            return given.a2a
        if self.fp4:
            return "flashinfer_mxfp4"
        if self.deployment.target.arch == "sm100":
            return _SM100_RUNNERS.get(self.config.architecture, "triton")
        return "triton"

    @property
    def fp4(self) -> bool:
        """Whether the checkpoint holds its experts in FP4."""
        return self.config.values.get("expert_dtype") == "fp4"

    def fused(self, ep: int) -> int:
        """How many shared experts are fused into the routed ones.

        Args:
            ep: ranks that the experts are spread over.

        Raises:
            InputError: fusion was asked for, and SGLang cannot do it.
        """
        wish = self.deployment.shared_expert_fusion
        if wish == "off" or not self.shared_experts:
            return 0
        if self.config.architecture in _APART:
            if wish == "on":
                raise InputError(f"sglang never fuses the shared expert of {self.config.architecture} on NVIDIA GPUs")
            return 0
        # models/qwen2_moe.py, can_fuse_shared_expert: one more expert of the same size, also where experts are spread.
        if self.shared_fusion == "same size":
            trtllm = self.runner().startswith("flashinfer_trtllm")
            sizes = (
                self.config.values.get(key) for key in ("moe_intermediate_size", "shared_expert_intermediate_size")
            )
            return 0 if self.a2a or trtllm or len(set(sizes)) > 1 else self.shared_experts
        possible = ep == 1 and not self.a2a
        if wish == "on":
            if not possible:
                raise InputError("sglang fuses shared experts only without expert parallelism and all-to-all backend")
            return self.shared_experts
        by_default = (
            self.config.architecture in _FUSING
            and self.experts == 256
            and self.shared_experts == 1
            and not self.runner().startswith("flashinfer_trtllm")
            and not self.deployment.single_batch_overlap
        )
        return self.shared_experts if possible and by_default else 0

    def mega_fault(self) -> str:
        """Why mega MoE does not take the experts; empty if it does.

        Source: layers/quantization/fp8.py: FP8 experts in blocks on SM90 (mega_moe_sm90.py), FP4 experts on SM100.
        """
        quantization = self.config.quantization
        if quantization.block != (128, 128):
            return f"mega MoE does not take experts that are {quantization.scheme}"
        if (self.deployment.target.arch == "sm90") == self.fp4:
            return f"mega MoE does not take {'FP4' if self.fp4 else 'FP8'} experts on {self.deployment.target.arch}"
        return ""
