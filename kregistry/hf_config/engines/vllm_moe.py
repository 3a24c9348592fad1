"""Who computes the experts in vLLM 0.33.0. A path in a comment is the end of one below ``vllm``."""

from __future__ import annotations

from attrs import frozen

from kregistry.hf_config.call_site import LayerVerdict
from kregistry.hf_config.config import ModelConfig
from kregistry.hf_config.deployment import Deployment
from kregistry.hf_config.engines.decision import GOES, Decision
from kregistry.hf_config.engines.engine import MoeShape
from kregistry.hf_config.engines.vllm_a2a import AllToAll
from kregistry.hf_config.model_family import Experts

# utils/deep_gemm.py, _DEEPGEMM_BLACKWELL_EXCLUDED_MODEL_TYPES.
_DISABLED_ON_BLACKWELL = ("qwen3_5_text", "qwen3_5_moe_text")
NOT_QUANTIZED = Decision(LayerVerdict.NOT_QUANTIZED, "BF16 experts do not use DeepGEMM in vllm", "bf16")
DISABLED = Decision(LayerVerdict.OTHER_BACKEND, "vllm does not use DeepGEMM for this model here", "backend")


@frozen
class VLLMMoe:
    """The rules for the experts of one model and setting.

    Attributes:
        deployment: the setting.
        config: the model.
        a2a: the all-to-all backend of the setting.
    """

    deployment: Deployment
    config: ModelConfig
    a2a: AllToAll

    @property
    def disabled(self) -> bool:
        """Whether vLLM turns DeepGEMM off for this model on this GPU."""
        return self.config.values.get("model_type") in _DISABLED_ON_BLACKWELL and self._arch != "sm90"

    @property
    def _arch(self) -> str:
        return self.deployment.target.arch

    @property
    def _eplb(self) -> bool:
        return self.deployment.eplb or self.deployment.redundant_experts > 0

    def decision(self, moe: MoeShape, layer: Experts) -> Decision:
        """Whether the routed experts go to DeepGEMM."""
        quantization, runner = self.config.quantization.of(layer.weights), self.deployment.moe_runner
        if not quantization.quantized or quantization.skips(layer.weights):
            return NOT_QUANTIZED
        fp4 = layer.fp4 and self.config.values.get("expert_dtype") == "fp4"
        if runner == "deep_gemm_mega_moe":
            return Decision(LayerVerdict.FUSED, "computed by mega MoE, in one launch", "megamoe")
        if quantization.block != (128, 128):
            return Decision(LayerVerdict.OTHER_BACKEND, f"experts are {quantization.scheme}", "scheme")
        if moe.intermediate % 128:
            fault = f"{moe.intermediate} rows of an expert on this rank are no multiple of the block's 128"
            return Decision(LayerVerdict.OTHER_BACKEND, f"Triton, with smaller blocks: {fault}", "block")
        if fp4 and self._arch == "sm90":
            return Decision(LayerVerdict.OTHER_BACKEND, "DeepGEMM takes FP4 weights on sm100 and later only", "arch")
        if runner != "auto":
            return self._requested(runner)
        return self._preferred(fp4)

    def _requested(self, runner: str) -> Decision:
        """The decision where ``--moe-backend`` names a backend."""
        if runner != "deep_gemm":
            return Decision(LayerVerdict.OTHER_BACKEND, f"the MoE backend is {runner}", "runner")
        if self.a2a.flashinfer:
            reason = f"vllm refuses --moe-backend deep_gemm with {self.a2a.name}"
            return Decision(LayerVerdict.DOES_NOT_LOAD, reason, "runner")
        return GOES

    def _preferred(self, fp4: bool) -> Decision:
        """The first backend of vLLM's list that supports the setting.

        Source: fused_moe/oracle/fp8.py, _get_priority_backends, and mxfp4.py for FP4; FlashInfer is installed with
        vLLM.
        """
        if self.disabled:
            return DISABLED
        hint = " (DeepGEMM with --moe-runner deep_gemm or VLLM_USE_DEEP_GEMM=1)"
        if self.a2a.batched:
            if fp4:
                return Decision(LayerVerdict.OTHER_BACKEND, f"FP4 experts behind {self.a2a.name}: Marlin", "runner")
            return GOES
        if self._arch == "sm90":
            backend = "flashinfer_cutlass" if (self.deployment.ep or 1) > 1 else "triton"
            return Decision(LayerVerdict.OTHER_BACKEND, f"vllm prefers {backend} on sm90{hint}", "runner")
        if self.a2a.trtllm and not self._eplb:
            return Decision(
                LayerVerdict.OTHER_BACKEND, f"vllm prefers flashinfer_trtllm on {self._arch}{hint}", "runner"
            )
        if self.a2a.flashinfer:
            return Decision(LayerVerdict.OTHER_BACKEND, f"DeepGEMM does not work with {self.a2a.name}", "runner")
        return GOES
