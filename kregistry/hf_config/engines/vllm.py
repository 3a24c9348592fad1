"""vLLM 0.33.0. Paths in comments are relative to ``vllm``."""

from __future__ import annotations

from typing import ClassVar

from kregistry.errors import InputError, quoted
from kregistry.hf_config.call_site import Rows, Verdict
from kregistry.hf_config.engines.engine import ALIGNMENT, GOES, Decision, Engine, Layout, MoeShape
from kregistry.hf_config.model_family import Experts, Linear, Special, Tokens
from kregistry.target import GIB

A2A_BACKENDS = ("none", "allgather_reducescatter", "deepep_high_throughput", "deepep_low_latency", "pplx")
# ParallelConfig.use_sequence_parallel_moe: shared experts are then replicated.
_SEQUENCE_PARALLEL = ("none", "allgather_reducescatter", "deepep_high_throughput", "deepep_low_latency")
# Defaults of max_num_batched_tokens of the server, by device memory.
_BATCHED_TOKENS = ((70, 2048), (160, 8192))
_BATCHED_TOKENS_ABOVE = 16384
# MLACommonMetadataBuilder.determine_chunked_prefill_workspace_size: at most 64 Ki tokens.
_KV_CHUNK_CAPACITY = 64 * 1024
# Tokens that a rank dispatches at once in low-latency mode (VLLM_MOE_DP_CHUNK_SIZE of the versions that have it).
_MAX_DISPATCH = 256
_MAX_REQUESTS = 1024
_DISABLED_ON_BLACKWELL = ("qwen3_5_text", "qwen3_5_moe_text")


class VLLM(Engine):
    """vLLM: ``tp * dp`` ranks; with expert parallelism the experts are spread over all of them."""

    name: ClassVar[str] = "vllm"
    version: ClassVar[str] = "0.33.0"

    # ---- layout ----------------------------------------------------------------------------------------------

    def _layout(self) -> Layout:
        given = self.deployment
        if given.a2a not in A2A_BACKENDS:
            raise InputError(f"vllm has no all-to-all backend {quoted(given.a2a)}", f"known: {', '.join(A2A_BACKENDS)}")
        for option, value in (
            ("--moe-dense-tp-size", given.moe_dense_tp),
            ("--chunked-prefill-size", given.chunked_prefill),
        ):
            if value is not None:
                raise InputError(f"{option} is an option of sglang", "vllm: --max-batched-tokens bounds a step")
        if given.shared_expert_fusion == "on":
            raise InputError("vllm never fuses shared experts into the routed ones")
        ranks = given.tp * given.dp
        ep = given.ep or 1
        if self.experts and ep not in (1, ranks):
            raise InputError(
                f"vllm spreads experts over all tp * dp = {ranks} ranks or none, got ep {ep}",
                f"--ep {ranks} for --enable-expert-parallel, else leave it out",
            )
        self.check_experts(ranks, ep)
        sequence_parallel = given.a2a in _SEQUENCE_PARALLEL and ep > 1 and given.tp > 1 and given.dp > 1
        return Layout(
            attention=given.tp,
            dense=given.tp,
            shared=1 if sequence_parallel else given.tp,
            ep=ep,
            moe_tp=ranks // ep if self.experts else 1,
            redundant=given.redundant_experts,
        )

    # ---- what goes to DeepGEMM -------------------------------------------------------------------------------

    def block_decision(self, reason: str) -> Decision:
        return Decision(Verdict.OTHER_BACKEND, f"DeepGEMM cannot take it: {reason}", "block")

    def linear_decision(self, layer: Linear, n: int, k: int, parts: tuple[int, ...], ways: int) -> Decision:
        decision = super().linear_decision(layer, n, k, parts, ways)
        model_type = self.config.values.get("model_type")
        if decision is GOES and model_type in _DISABLED_ON_BLACKWELL and self.deployment.target.arch != "sm90":
            return Decision(Verdict.OTHER_BACKEND, f"vllm does not use DeepGEMM for {model_type} here", "backend")
        return decision

    def experts_decision(self, moe: MoeShape, layer: Experts) -> Decision:
        quantization = self.config.quantization
        if not quantization.quantized or quantization.skips(layer.weights):
            return Decision(Verdict.NOT_QUANTIZED, "BF16 experts do not use DeepGEMM in vllm", "bf16")
        if quantization.block != (128, 128):
            return Decision(Verdict.OTHER_BACKEND, f"experts are {quantization.scheme}", "scheme")
        if moe.intermediate % 128:
            fault = f"{moe.intermediate} rows of an expert on this rank are no multiple of the block's 128"
            return self.block_decision(fault)
        # fused_moe/oracle/fp8.py: DeepGEMM comes after other backends, unless it is asked for.
        if self.deployment.moe_runner != "deep_gemm":
            return Decision(
                Verdict.OTHER_BACKEND,
                "vllm prefers another MoE backend (DeepGEMM with --moe-runner deep_gemm, VLLM_USE_DEEP_GEMM=1)",
                "runner",
            )
        if layer.fp4 and self.config.values.get("expert_dtype") == "fp4" and self.deployment.target.arch == "sm90":
            return Decision(Verdict.OTHER_BACKEND, "DeepGEMM takes FP4 weights on sm100 and later only", "arch")
        # TritonOrDeepGemmExperts._valid_deep_gemm
        if self.deployment.target.arch == "sm90" and moe.intermediate <= 512:
            return Decision(
                Verdict.OTHER_BACKEND,
                f"{moe.intermediate} intermediate columns on this rank: vllm takes Triton up to 512 on sm90",
                "runner",
            )
        return GOES

    def special_decision(self, layer: Special) -> Decision:
        if layer.needs == "deepgemm_bmm":
            return Decision(Verdict.OTHER_BACKEND, "bmm", "backend")
        if layer.needs == "megamoe":
            return Decision(Verdict.OTHER_BACKEND, "only with moe_backend deep_gemm_mega_moe", "backend")
        return GOES

    def expert_kernel_types(self) -> tuple[str, ...]:
        return ("masked",) if self.deployment.a2a in ("deepep_low_latency", "pplx") else ("contiguous",)

    # ---- how large m becomes ---------------------------------------------------------------------------------

    @property
    def _step(self) -> int:
        """``max_num_batched_tokens``."""
        given = self.deployment
        if given.max_batched_tokens is not None:
            return given.max_batched_tokens
        memory = given.target.memory_bytes // GIB
        return next((tokens for limit, tokens in _BATCHED_TOKENS if memory < limit), _BATCHED_TOKENS_ABOVE)

    def linear_rows(self, layer: Linear | Special, factor: int) -> Rows:
        if layer.tokens is Tokens.KV:
            return Rows(max(self._step, _KV_CHUNK_CAPACITY), "key-value tokens of one prefill chunk, 64 Ki at most")
        if layer.tokens is Tokens.REQUESTS:
            return Rows(_MAX_REQUESTS, "requests of a decode step, the default of --max-num-seqs")
        rule = f"max_num_batched_tokens {self._step}" + (f" * {factor} rows a token" if factor > 1 else "")
        return Rows(self._step * factor, rule)

    def expert_rows(self, kind: str, moe: MoeShape) -> Rows:
        if kind == "masked":
            tokens, ranks = self.deployment.max_dispatch_tokens or _MAX_DISPATCH, self.layout.ep
            rule = f"rows of the buffer: {tokens} dispatched tokens * {ranks} ranks; expected_m is rounded up to 16"
            return Rows(-(-tokens * ranks // 16) * 16, rule, 16, 16)
        # fused_moe/deep_gemm_utils.py, compute_aligned_M_and_alignment, at the tokens of all data-parallel ranks.
        pairs = self._step * self.deployment.dp * moe.top_k
        rows = pairs + min(pairs, moe.groups) * (ALIGNMENT - 1)
        rule = f"compute_aligned_M at {self._step} tokens * dp {self.deployment.dp} * top_k {moe.top_k}"
        return Rows(-(-rows // ALIGNMENT) * ALIGNMENT, rule, ALIGNMENT, ALIGNMENT)
