"""How large m becomes in SGLang 0.5.23. Paths in comments are relative to ``sglang/srt``."""

from __future__ import annotations

from attrs import frozen

from kregistry.hf_config.call_site import Rows
from kregistry.hf_config.engines.engine import MoeShape
from kregistry.hf_config.engines.layout import ALIGNMENT, Layout
from kregistry.hf_config.engines.sglang_steps import SGLangSteps
from kregistry.hf_config.model_family import Linear, Special, Tokens

# SGLANG_MAX_KV_CHUNK_CAPACITY, models/deepseek_common/attention_forward_methods/forward_mha.py.
_KV_CHUNK_CAPACITY = 128 * 1024
# SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK.
_MAX_DISPATCH = 128
# layers/moe/moe_runner/deep_gemm.py: the masked layout without DeepEP has rows for the next multiple of this.
_MASKED_ROWS = 256
# layers/attention/dsa/dsa_indexer.py, DUAL_STREAM_TOKEN_THRESHOLD.
_DUAL_STREAM_TOKENS = 1024


@frozen
class SGLangRows:
    """The ranges of m of one setting and its layout."""

    steps: SGLangSteps
    layout: Layout

    def of_linear(self, layer: Linear | Special, factor: int) -> Rows:
        """The range of m of a linear layer whose m is ``factor`` times the tokens."""
        steps, verify = self.steps, self.layout.verify
        requests, rule = steps.requests
        match layer.tokens:
            case Tokens.KV:
                rule = "key-value tokens of one prefill chunk, SGLANG_MAX_KV_CHUNK_CAPACITY"
                return Rows(max(steps.warmed, _KV_CHUNK_CAPACITY), rule)
            case Tokens.REQUESTS:
                return Rows(requests, rule)
            case Tokens.VERIFIED:
                return Rows(requests * verify, f"{rule}{f' * {verify} tokens' if verify > 1 else ''}")
            case Tokens.CAPTURED:
                return Rows(_DUAL_STREAM_TOKENS, "tokens of a captured decode step, DUAL_STREAM_TOKEN_THRESHOLD")
            case Tokens.MEGA:
                rule = f"chunked prefill {steps.tokens}, at most {steps.mega_tokens} tokens in the buffer of mega MoE"
                return Rows(min(max(steps.tokens, requests * verify), steps.mega_tokens), rule)
        if isinstance(layer, Special) and layer.start is not None:
            return Rows(steps.tokens, f"chunked prefill {steps.tokens}")
        gathered = steps.deployment.dp if self._gathers(layer) else 1
        reached = steps.tokens * gathered * factor
        if reached > steps.warmed:
            words = [f"chunked prefill {steps.tokens}"]
            words += [f"{gathered} data-parallel ranks"] if gathered > 1 else []
            words += [f"{factor} rows a token"] if factor > 1 else []
            return Rows(reached, " * ".join(words))
        return Rows(steps.warmed, f"update_deep_gemm_config at chunked prefill {steps.chunk}")

    def _gathers(self, layer: Linear | Special) -> bool:
        """Layers that span more ranks than attention compute the tokens of all data-parallel ranks."""
        spans = self.layout.dense if isinstance(layer, Linear) and layer.over == "T" else self.layout.shared
        return layer.tokens is Tokens.GATHERED and spans > self.layout.attention

    def of_masked_scales(self) -> Rows:
        """The rows of the scale factors of one expert in the masked layout."""
        if self.steps.deployment.a2a != "none":
            stop, rule = self._dispatched()
            return Rows(stop, rule, stop)
        tokens = self.steps.tokens * self.steps.deployment.dp
        stop = (tokens // _MASKED_ROWS + 1) * _MASKED_ROWS
        return Rows(stop, f"({tokens} tokens // {_MASKED_ROWS} + 1) * {_MASKED_ROWS}", _MASKED_ROWS, _MASKED_ROWS)

    def _dispatched(self) -> tuple[int, str]:
        per_rank = self.steps.deployment.max_dispatch_tokens or _MAX_DISPATCH
        ranks = self.layout.ep * self.layout.moe_tp
        return per_rank * ranks, f"rows of DeepEP's buffer: {per_rank} dispatched tokens * {ranks} ranks"

    def of_experts(self, kind: str, moe: MoeShape) -> Rows:
        """The range of the run-time dimension of a grouped layout."""
        steps = self.steps
        tokens = steps.tokens * steps.deployment.dp
        if kind == "masked":
            if steps.deployment.a2a != "none":
                return Rows(*self._dispatched())
            expected = max(1, -(-tokens * moe.top_k // moe.experts))
            return Rows(expected, f"ceil({tokens} tokens * top_k {moe.top_k} / {moe.experts} experts)")
        rows = tokens * min(moe.top_k, moe.groups) + min(tokens * moe.top_k, moe.groups) * (ALIGNMENT - 1)
        rule = f"{tokens} tokens, each to at most {min(moe.top_k, moe.groups)} experts of this rank, aligned to 128"
        if rows < steps.warmed:
            rule = f"update_deep_gemm_config at chunked prefill {steps.chunk}"
            return Rows(steps.warmed // ALIGNMENT * ALIGNMENT, rule, ALIGNMENT, ALIGNMENT)
        return Rows(rows // ALIGNMENT * ALIGNMENT, rule, ALIGNMENT, ALIGNMENT)
