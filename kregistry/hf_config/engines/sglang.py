"""SGLang 0.5.23. Paths in comments are relative to ``sglang/srt``."""

from __future__ import annotations

from typing import ClassVar

from kregistry.errors import InputError, quoted
from kregistry.hf_config.call_site import Rows, Verdict
from kregistry.hf_config.engines.engine import ALIGNMENT, GOES, Decision, Engine, Layout, MoeShape
from kregistry.hf_config.model_family import Experts, Linear, Special, Tokens
from kregistry.target import GIB, MIB

# layers/moe/utils.py, MoeA2ABackend; arg_groups/overrides.py, _A2A_EP_SPANNING_BACKENDS: ep becomes tp.
A2A_BACKENDS = ("none", "deepep", "mooncake", "nixl", "mori", "flashinfer", "megamoe", "deepep_v2", "pplx")
# Fp8MoEMethod.is_deepgemm_moe_runner_backend_enabled; arg_groups/moe_hook.py forces it for the last two.
_A2A_WITH_DEEP_GEMM = ("deepep", "mooncake", "nixl", "deepep_v2", "pplx")
# arg_groups/overrides.py and model_overrides/*.py: the MoE runner on SM100 where a2a is none and the runner is auto.
_SM100_RUNNERS = {
    "DeepseekV3ForCausalLM": "flashinfer_trtllm",
    "DeepseekV32ForCausalLM": "flashinfer_trtllm",
    "GlmMoeDsaForCausalLM": "flashinfer_trtllm",
    "Qwen3MoeForCausalLM": "flashinfer_trtllm",
    "MiniMaxM2ForCausalLM": "flashinfer_trtllm_routed",
}
# shared_experts_fusion_disable_reason: fused by default for these, with 256 routed experts and 1 shared one.
_FUSING = ("DeepseekV3ForCausalLM", "GlmMoeDsaForCausalLM")
# arg_groups/memory_hook.py: device memory in MiB below which chunked_prefill_size defaults to the second number.
_CHUNKED_PREFILL = ((20 * 1024, 2048), (60 * 1024, 4096), (160 * 1024, 8192))
_CHUNKED_PREFILL_ABOVE = 16384
# SGLANG_MAX_KV_CHUNK_CAPACITY, models/deepseek_common/attention_forward_methods/forward_mha.py.
_KV_CHUNK_CAPACITY = 128 * 1024
# SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK.
_MAX_DISPATCH = 128
# --max-prefill-tokens: bounds a step when prefill is not chunked.
_MAX_PREFILL_TOKENS = 16384


class SGLang(Engine):
    """SGLang: ``tp`` ranks in all; data-parallel attention is inside them."""

    name: ClassVar[str] = "sglang"
    version: ClassVar[str] = "0.5.23"

    # ---- layout ----------------------------------------------------------------------------------------------

    def _layout(self) -> Layout:
        given = self.deployment
        if given.a2a not in A2A_BACKENDS:
            raise InputError(
                f"sglang has no all-to-all backend {quoted(given.a2a)}", f"known: {', '.join(A2A_BACKENDS)}"
            )
        if given.max_batched_tokens is not None:
            raise InputError("--max-batched-tokens is an option of vllm", "sglang: --chunked-prefill-size")
        if given.tp % given.dp:
            raise InputError(
                f"dp {given.dp} does not divide tp {given.tp}",
                "sglang: dp attention divides the tp ranks, e.g. --tp 8 --dp 8",
            )
        attention = given.tp // given.dp
        if given.moe_dense_tp not in (None, 1, attention, given.tp):
            raise InputError(f"sglang takes --moe-dense-tp-size 1, {attention} or {given.tp}, got {given.moe_dense_tp}")
        ep = given.ep or 1
        if self._a2a and self.experts and ep != given.tp:
            if given.ep is not None:
                self.notes.append(f"{given.a2a} makes sglang use ep = tp = {given.tp} (--ep {given.ep} was given)")
            ep = given.tp
        self.check_experts(given.tp, ep)
        return Layout(
            attention=attention,
            dense=given.moe_dense_tp or given.tp,
            shared=1 if self._a2a else given.tp,
            ep=ep,
            moe_tp=given.tp // ep if self.experts else 1,
            fused=self._fused(ep),
            redundant=given.redundant_experts,
        )

    @property
    def _a2a(self) -> bool:
        return self.deployment.a2a != "none"

    def _runner(self) -> str:
        """The MoE runner after SGLang's defaults."""
        given = self.deployment
        if given.moe_runner != "auto":
            return given.moe_runner
        if given.a2a in _A2A_WITH_DEEP_GEMM:
            return "deep_gemm"
        if self._a2a:
            return given.a2a
        if self._fp4_experts:
            return "flashinfer_mxfp4"
        if given.target.arch == "sm100":
            return _SM100_RUNNERS.get(self.config.architecture, "triton")
        return "triton"

    @property
    def _fp4_experts(self) -> bool:
        return self.config.values.get("expert_dtype") == "fp4"

    def _fused(self, ep: int) -> int:
        wish = self.deployment.shared_expert_fusion
        if wish == "off" or not self.shared_experts:
            return 0
        possible = ep == 1 and not self._a2a
        if wish == "on":
            if not possible:
                raise InputError("sglang fuses shared experts only without expert parallelism and all-to-all backend")
            return self.shared_experts
        by_default = (
            self.config.architecture in _FUSING
            and self.experts == 256
            and self.shared_experts == 1
            and not self._runner().startswith("flashinfer_trtllm")
        )
        return self.shared_experts if possible and by_default else 0

    # ---- what goes to DeepGEMM -------------------------------------------------------------------------------

    def block_decision(self, reason: str) -> Decision:
        return Decision(Verdict.DOES_NOT_LOAD, f"sglang refuses to load the model: {reason}", "block")

    def linear_decision(self, layer: Linear, n: int, k: int, parts: tuple[int, ...], ways: int) -> Decision:
        decision = super().linear_decision(layer, n, k, parts, ways)
        quantization = self.config.quantization
        if (
            decision is GOES
            and self.config.architecture.startswith("LongcatFlash")
            and self.deployment.target.arch == "sm100"
            and not quantization.ue8m0
        ):
            return Decision(Verdict.OTHER_BACKEND, "LongCat without ue8m0 scales uses flashinfer_trtllm", "backend")
        return decision

    def experts_decision(self, moe: MoeShape, layer: Experts) -> Decision:
        quantization = self.config.quantization
        bf16 = not quantization.quantized or quantization.skips(layer.weights)
        if quantization.block is None and not bf16:
            return Decision(Verdict.OTHER_BACKEND, f"experts are {quantization.scheme}: not FP8 in blocks", "scheme")
        if not bf16:
            if quantization.block != (128, 128):
                return Decision(
                    Verdict.OTHER_BACKEND, f"experts are {quantization.scheme}: not described yet", "scheme"
                )
            if moe.intermediate % 128:
                fault = f"{moe.intermediate} rows of an expert on this rank are no multiple of the block's 128"
                return self.block_decision(fault)
            if quantization.method == "compressed-tensors":
                return Decision(
                    Verdict.OTHER_BACKEND, "experts of compressed-tensors checkpoints do not use DeepGEMM", "scheme"
                )
        runner = self._runner()
        if runner != "deep_gemm":
            hint = " (DeepGEMM with --moe-a2a-backend deepep or --moe-runner-backend deep_gemm)"
            return Decision(Verdict.OTHER_BACKEND, f"the MoE runner is {runner}{hint}", "runner")
        if not bf16 and layer.fp4 and self._fp4_experts and self.deployment.target.arch == "sm90":
            return Decision(Verdict.OTHER_BACKEND, "DeepGEMM takes FP4 weights on sm100 and later only", "arch")
        return GOES

    def special_decision(self, layer: Special) -> Decision:
        sm90 = self.deployment.target.arch == "sm90"
        if layer.needs == "fp8_wo_a" and sm90:
            return Decision(
                Verdict.OTHER_BACKEND,
                "BF16 bmm on sm90, unless SGLANG_OPT_FP8_WO_A_GEMM=1 is set explicitly",
                "arch",
            )
        if layer.needs == "deepgemm_bmm":
            return Decision(Verdict.OTHER_BACKEND, "bmm, unless SGLANG_USE_DEEPGEMM_BMM=1 (sm90 only)", "backend")
        if layer.needs == "megamoe" and self.deployment.a2a != "megamoe":
            return Decision(Verdict.OTHER_BACKEND, "only with --moe-a2a-backend megamoe", "backend")
        return GOES

    def expert_kernel_types(self) -> tuple[str, ...]:
        return ("contiguous", "masked")

    # ---- how large m becomes ---------------------------------------------------------------------------------

    @property
    def _chunk(self) -> int:
        """``chunked_prefill_size`` of one data-parallel rank; < 1 where prefill is not chunked."""
        given = self.deployment
        size = given.chunked_prefill
        if size is None:
            memory = given.target.memory_bytes // MIB
            size = next((chunk for limit, chunk in _CHUNKED_PREFILL if memory < limit), _CHUNKED_PREFILL_ABOVE)
        return size // given.dp if size >= 1 else size

    @property
    def _warmed(self) -> int:
        """The last m of SGLang's own warm-up.

        Source: layers/deep_gemm_wrapper/compile_utils.py, update_deep_gemm_config.
        """
        if self._chunk < 1:
            return 65536
        return min(131072, 2 * self._chunk if self._chunk > 8192 else 16384)

    @property
    def _step(self) -> int:
        """The largest number of tokens of a step on one data-parallel rank."""
        return self._chunk if self._chunk >= 1 else _MAX_PREFILL_TOKENS

    def linear_rows(self, layer: Linear | Special, factor: int) -> Rows:
        if layer.tokens is Tokens.KV:
            rule = "key-value tokens of one prefill chunk, SGLANG_MAX_KV_CHUNK_CAPACITY"
            return Rows(max(self._warmed, _KV_CHUNK_CAPACITY), rule)
        if layer.tokens is Tokens.REQUESTS:
            few = self.deployment.tp < 4 and self.deployment.target.memory_bytes < 160 * GIB
            return Rows(256 if few else 512, "requests of a decode step, the default of --cuda-graph-max-bs")
        gathered = self.deployment.dp if self._gathers(layer) else 1
        reached = self._step * gathered * factor
        if reached > self._warmed:
            words = [f"chunked prefill {self._step}"]
            words += [f"{gathered} data-parallel ranks"] if gathered > 1 else []
            words += [f"{factor} rows a token"] if factor > 1 else []
            return Rows(reached, " * ".join(words))
        return Rows(self._warmed, f"update_deep_gemm_config at chunked prefill {self._chunk}")

    def _gathers(self, layer: Linear | Special) -> bool:
        """Layers that span more ranks than attention compute the tokens of all data-parallel ranks."""
        return (
            layer.tokens is Tokens.GATHERED
            and (self.layout.dense if isinstance(layer, Linear) and layer.over == "T" else self.layout.shared)
            > self.layout.attention
        )

    def expert_rows(self, kind: str, moe: MoeShape) -> Rows:
        tokens = self._step * self.deployment.dp
        ranks = self.layout.ep * self.layout.moe_tp
        if kind == "masked":
            if self._a2a:
                per_rank = self.deployment.max_dispatch_tokens or _MAX_DISPATCH
                return Rows(per_rank * ranks, f"rows of DeepEP's buffer: {per_rank} dispatched tokens * {ranks} ranks")
            expected = max(1, -(-tokens * moe.top_k // moe.experts))
            return Rows(expected, f"ceil({tokens} tokens * top_k {moe.top_k} / {moe.experts} experts)")
        rows = tokens * min(moe.top_k, moe.groups) + min(tokens * moe.top_k, moe.groups) * (ALIGNMENT - 1)
        rule = f"{tokens} tokens, each to at most {min(moe.top_k, moe.groups)} experts of this rank, aligned to 128"
        if rows < self._warmed:
            rule = f"update_deep_gemm_config at chunked prefill {self._chunk}"
            return Rows(self._warmed // ALIGNMENT * ALIGNMENT, rule, ALIGNMENT, ALIGNMENT)
        return Rows(rows // ALIGNMENT * ALIGNMENT, rule, ALIGNMENT, ALIGNMENT)
