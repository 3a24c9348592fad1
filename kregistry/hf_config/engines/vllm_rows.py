"""How large m becomes in vLLM 0.33.0. A path in a comment is the end of one below ``vllm``."""

from __future__ import annotations

from attrs import frozen

from kregistry.hf_config.call_site import Rows
from kregistry.hf_config.engines.engine import MoeShape
from kregistry.hf_config.engines.layout import ALIGNMENT, Layout
from kregistry.hf_config.engines.vllm_steps import VLLMSteps
from kregistry.hf_config.model_family import Linear, Special, Tokens

# MLACommonMetadataBuilder.determine_chunked_prefill_workspace_size: at most 64 Ki tokens.
_KV_CHUNK_CAPACITY = 64 * 1024
# kernels/linear/scaled_mm/flashinfer.py: fewer rows go to FlashInfer on Hopper.
_FLASHINFER_ROWS = 32


@frozen
class VLLMRows:
    """The ranges of m of one setting and its layout."""

    steps: VLLMSteps
    layout: Layout

    def of_linear(self, layer: Linear | Special, factor: int) -> Rows:
        """The range of m of a linear layer whose m is ``factor`` times the tokens."""
        tokens = self.steps.tokens
        requests, rule = self.steps.requests
        match layer.tokens:
            case Tokens.KV:
                rule = "key-value tokens of one prefill chunk, 64 Ki at most"
                return self._dense(layer, max(tokens, _KV_CHUNK_CAPACITY), rule)
            case Tokens.REQUESTS:
                return Rows(requests, rule)
            case Tokens.VERIFIED:
                verify = self.layout.verify
                stop = min(tokens, requests * verify)
                return Rows(stop, f"{rule}{f' * {verify} tokens' if verify > 1 else ''}")
        rule = f"max_num_batched_tokens {tokens}" + (f" * {factor} rows a token" if factor > 1 else "")
        return self._dense(layer, tokens * factor, rule)

    def _dense(self, layer: Linear | Special, stop: int, rule: str) -> Rows:
        """A range of a quantised linear layer; on Hopper, FlashInfer takes the small ones."""
        if self.steps.deployment.target.arch == "sm90" and isinstance(layer, Linear):
            rule = f"{rule}; FlashInfer computes fewer than {_FLASHINFER_ROWS} rows on sm90"
            return Rows(max(stop, _FLASHINFER_ROWS), rule, _FLASHINFER_ROWS)
        return Rows(stop, rule)

    def of_experts(self, kind: str, moe: MoeShape) -> Rows:
        """The range of the run-time dimension of a grouped layout."""
        deployment = self.steps.deployment
        if kind == "masked":
            tokens, ranks = deployment.max_dispatch_tokens or self.steps.tokens, self.layout.ep
            rule = f"rows of the buffer: {tokens} dispatched tokens * {ranks} ranks; expected_m is rounded up to 16"
            return Rows(-(-tokens * ranks // 16) * 16, rule, 16, 16)
        # fused_moe/deep_gemm_utils.py, compute_aligned_M_and_alignment, at the tokens of all data-parallel ranks.
        pairs = self.steps.tokens * deployment.dp * moe.top_k
        rows = pairs + min(pairs, moe.groups) * (ALIGNMENT - 1)
        rule = f"compute_aligned_M at {self.steps.tokens} tokens * dp {deployment.dp} * top_k {moe.top_k}"
        return Rows(-(-rows // ALIGNMENT) * ALIGNMENT, rule, ALIGNMENT, ALIGNMENT)
