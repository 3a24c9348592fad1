"""vLLM 0.33.0. Paths in comments are relative to ``vllm``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from kregistry.errors import InputError, quoted
from kregistry.hf_config.call_site import CallSite, LayerVerdict, Rows
from kregistry.hf_config.engines import weight_loading
from kregistry.hf_config.engines.engine import (
    ALIGNMENT,
    GOES,
    MEGA_ROUNDING,
    Decision,
    Engine,
    Layout,
    MoeShape,
    SmLimit,
    aligned,
    column_fault,
    row_fault,
)
from kregistry.hf_config.model_family import Experts, Linear, Special, Tokens
from kregistry.target import GIB

# config/parallel.py, All2AllBackend; "naive" and "pplx" are still parsed, and replaced by allgather_reducescatter.
A2A_BACKENDS = (
    "none",
    "allgather_reducescatter",
    "deepep_high_throughput",
    "deepep_low_latency",
    "deepep_v2",
    "mori_high_throughput",
    "mori_low_latency",
    "moonep",
    "nixl_ep",
    "flashinfer_all2allv",
    "flashinfer_nvlink_two_sided",
    "flashinfer_nvlink_one_sided",
    "passthrough",
)
_REMOVED = ("naive", "pplx")
# ParallelConfig.use_sequence_parallel_moe: shared experts are then replicated.
_SEQUENCE_PARALLEL = (
    "none",
    "allgather_reducescatter",
    "deepep_high_throughput",
    "deepep_low_latency",
    "deepep_v2",
    "flashinfer_nvlink_one_sided",
    "passthrough",
    "mori_high_throughput",
    "mori_low_latency",
    "nixl_ep",
)
# FusedMoEParallelConfig.use_batched_activation_format: one buffer for each expert.
_BATCHED = ("deepep_low_latency", "nixl_ep")
# DeepGemmExperts._supports_parallel_config.
_FLASHINFER_A2A = ("flashinfer_all2allv", "flashinfer_nvlink_two_sided", "flashinfer_nvlink_one_sided")
# TrtLlmFp8ExpertsModular._supports_parallel_config.
_TRTLLM_A2A = ("none", "allgather_reducescatter", "deepep_v2", *_FLASHINFER_A2A)
# Defaults of max_num_batched_tokens of the server, by device memory; SchedulerConfig for batched data-parallel MoE.
_BATCHED_TOKENS = ((70, 2048), (160, 8192))
_BATCHED_TOKENS_ABOVE = 16384
_BATCHED_DP_TOKENS = 256
# MLACommonMetadataBuilder.determine_chunked_prefill_workspace_size: at most 64 Ki tokens.
_KV_CHUNK_CAPACITY = 64 * 1024
_MAX_REQUESTS = 1024
# utils/deep_gemm.py, _DEEPGEMM_BLACKWELL_EXCLUDED_MODEL_TYPES.
_DISABLED_ON_BLACKWELL = ("qwen3_5_text", "qwen3_5_moe_text")
# kernels/linear/scaled_mm/flashinfer.py: fewer rows go to FlashInfer on Hopper.
_FLASHINFER_ROWS = 32
# VLLM_DBO_COMM_SMS.
_DBO_SMS = 20


class VLLM(Engine):
    """vLLM: ``tp * dp`` ranks; with expert parallelism the experts are spread over all of them."""

    name: ClassVar[str] = "vllm"
    version: ClassVar[str] = "0.33.0"

    # ---- layout ----------------------------------------------------------------------------------------------

    def _layout(self) -> Layout:
        given = self.deployment
        if given.a2a in _REMOVED:
            raise InputError(
                f"vllm has removed the all-to-all backend {quoted(given.a2a)}; it uses allgather_reducescatter instead",
                f"known: {', '.join(A2A_BACKENDS)}",
            )
        if given.a2a not in A2A_BACKENDS:
            raise InputError(f"vllm has no all-to-all backend {quoted(given.a2a)}", f"known: {', '.join(A2A_BACKENDS)}")
        for option, value in (
            ("--moe-dense-tp-size", given.moe_dense_tp),
            ("--chunked-prefill-size", given.chunked_prefill),
        ):
            if value is not None:
                raise InputError(f"{option} is an option of sglang", "vllm: --max-batched-tokens bounds a step")
        if given.single_batch_overlap:
            raise InputError(
                "--single-batch-overlap is an option of sglang", "vllm: --two-batch-overlap (--enable-dbo)"
            )
        if given.shared_expert_fusion == "on":
            raise InputError("vllm never fuses shared experts into the routed ones")
        ranks = given.tp * given.dp * given.cp
        ep = given.ep or 1
        if self.experts and ep not in (1, ranks):
            raise InputError(
                f"vllm spreads experts over all tp * dp{' * cp' if given.cp > 1 else ''} = {ranks} ranks or none, "
                f"got ep {ep}",
                f"--ep {ranks} for --enable-expert-parallel, else leave it out",
            )
        self.check_experts(ranks, ep)
        if given.moe_runner == "deep_gemm_mega_moe" and given.target.arch != "sm100":
            raise InputError(
                f"vllm has deep_gemm_mega_moe on sm100 only, not on {given.target.arch}",
                "choose --moe-runner deep_gemm",
            )
        sequence_parallel = given.a2a in _SEQUENCE_PARALLEL and ep > 1 and given.tp > 1 and given.dp > 1
        step, mega = self._step, given.moe_runner == "deep_gemm_mega_moe"
        return Layout(
            attention=given.tp,
            dense=given.tp,
            shared=1 if sequence_parallel else given.tp,
            ep=ep,
            moe_tp=ranks // ep if self.experts else 1,
            redundant=given.redundant_experts,
            sms=given.target.num_sms,
            verify=1 + (given.speculative_tokens or 0),
            pp=given.pp,
            mega_tokens=-(-step // MEGA_ROUNDING) * MEGA_ROUNDING if mega else 0,
            mega_sms=given.target.num_sms,
            # models/deepseek_v4/nvidia/model.py: where each rank has the shared expert whole.
            mega_shared=self.mega_shared_experts() if mega and (sequence_parallel or given.tp == 1) else 0,
        )

    @property
    def _arch(self) -> str:
        return self.deployment.target.arch

    @property
    def _a2a(self) -> str:
        """The all-to-all backend in use: only where experts are spread over data-parallel ranks."""
        given = self.deployment
        ranks = given.tp * given.dp * given.cp
        spread = self.experts > 0 and (given.ep or 1) == ranks > 1 and (given.dp > 1 or given.cp > 1)
        return ("allgather_reducescatter" if given.a2a == "none" else given.a2a) if spread else "none"

    @property
    def _eplb(self) -> bool:
        return self.deployment.eplb or self.deployment.redundant_experts > 0

    @property
    def _disabled(self) -> bool:
        """Whether vLLM turns DeepGEMM off for this model on this GPU."""
        return self.config.values.get("model_type") in _DISABLED_ON_BLACKWELL and self._arch != "sm90"

    # ---- what goes to DeepGEMM -------------------------------------------------------------------------------

    def block_decision(self, layer: Linear, k: int, parts: tuple[int, ...], ways: int) -> Decision | None:
        """Source: layers/quantization/utils/fp8_utils.py, validate_fp8_block_shape.

        Merged layers with other parts are allowed (layers/linear.py, _maybe_allow_fp8_block_shape_mismatch).
        """
        block = self.config.quantization.of(layer.weights).block
        assert block is not None, "only weights in blocks are checked"
        single = layer.split == "column" and ways > 1 and len(parts) == 1
        fault = row_fault(layer, k, ways, block[1]) or (column_fault(parts, block[0]) if single else "")
        return (
            Decision(LayerVerdict.DOES_NOT_LOAD, f"vllm refuses to load the model: {fault}", "block") if fault else None
        )

    def dense_kernel_type(self, layer: Linear, n: int, k: int) -> str | Decision:
        """Source: utils/deep_gemm.py, should_use_deepgemm_for_fp8_linear."""
        quantization = self.config.quantization.of(layer.weights)
        if quantization.block != (128, 128):
            reason = f"weights are {quantization.scheme}: vllm uses DeepGEMM for groups of 128 columns"
            return Decision(LayerVerdict.OTHER_BACKEND, reason, "scheme")
        if self._disabled:
            model_type = self.config.values.get("model_type")
            return Decision(LayerVerdict.OTHER_BACKEND, f"vllm does not use DeepGEMM for {model_type} here", "backend")
        return aligned(n, k, self.name) or "fp8_gemm_nt"

    def padded_intermediate(self, intermediate: int, block: int) -> int:
        """Source: fused_moe/oracle/fp8.py, pad_tp_shard_to_weight_blocks: only if the backend is asked for."""
        if self.deployment.moe_runner == "auto" or self.layout.ep > 1 or self.layout.moe_tp == 1:
            return intermediate
        return -(-intermediate // block) * block

    def experts_decision(self, moe: MoeShape, layer: Experts) -> Decision:
        quantization, runner = self.config.quantization.of(layer.weights), self.deployment.moe_runner
        if not quantization.quantized or quantization.skips(layer.weights):
            return self.bf16_experts_decision()
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

    def bf16_experts_decision(self) -> Decision:
        return Decision(LayerVerdict.NOT_QUANTIZED, "BF16 experts do not use DeepGEMM in vllm", "bf16")

    def _requested(self, runner: str) -> Decision:
        """The decision where ``--moe-backend`` names a backend."""
        if runner != "deep_gemm":
            return Decision(LayerVerdict.OTHER_BACKEND, f"the MoE backend is {runner}", "runner")
        if self._a2a in _FLASHINFER_A2A:
            reason = f"vllm refuses --moe-backend deep_gemm with {self._a2a}"
            return Decision(LayerVerdict.DOES_NOT_LOAD, reason, "runner")
        return GOES

    def _preferred(self, fp4: bool) -> Decision:
        """The first backend of vLLM's list that supports the setting.

        Source: fused_moe/oracle/fp8.py, _get_priority_backends, and mxfp4.py for FP4; FlashInfer is installed with
        vLLM.
        """
        if self._disabled:
            return Decision(LayerVerdict.OTHER_BACKEND, "vllm does not use DeepGEMM for this model here", "backend")
        hint = " (DeepGEMM with --moe-runner deep_gemm or VLLM_USE_DEEP_GEMM=1)"
        if self._a2a in _BATCHED:
            if fp4:
                return Decision(LayerVerdict.OTHER_BACKEND, f"FP4 experts behind {self._a2a}: Marlin", "runner")
            return GOES
        if self._arch == "sm90":
            backend = "flashinfer_cutlass" if self.layout.ep > 1 else "triton"
            return Decision(LayerVerdict.OTHER_BACKEND, f"vllm prefers {backend} on sm90{hint}", "runner")
        if self._a2a in _TRTLLM_A2A and not self._eplb:
            return Decision(
                LayerVerdict.OTHER_BACKEND, f"vllm prefers flashinfer_trtllm on {self._arch}{hint}", "runner"
            )
        if self._a2a in _FLASHINFER_A2A:
            return Decision(LayerVerdict.OTHER_BACKEND, f"DeepGEMM does not work with {self._a2a}", "runner")
        return GOES

    def special_decision(self, layer: Special) -> Decision:
        if layer.needs == "deepgemm_bmm":
            return Decision(LayerVerdict.OTHER_BACKEND, "bmm", "backend")
        if layer.needs == "fp8_wo_a" and self._disabled:
            return Decision(LayerVerdict.OTHER_BACKEND, "vllm does not use DeepGEMM for this model here", "backend")
        if layer.needs == "megamoe" and self.config.values.get("expert_dtype", "fp4") != "fp4":
            return Decision(LayerVerdict.DOES_NOT_LOAD, "vllm takes FP4 experts only with deep_gemm_mega_moe", "runner")
        return GOES

    def expert_kernel_types(self) -> tuple[str, ...]:
        return ("masked",) if self._a2a in _BATCHED else ("contiguous",)

    def expert_settings(self, kind: str) -> Mapping[str, bool]:
        """Source: fused_moe/experts/deep_gemm_moe.py, use_psum_layout, with the scale factors that DeepGEMM prefers."""
        return {"use_psum_layout": True} if kind == "contiguous" else {}

    # ---- fewer SMs -------------------------------------------------------------------------------------------

    def sm_limits(self, layer: Linear | Experts | Special, kind: str = "") -> tuple[SmLimit, ...]:
        """Source: v1/worker/ubatch_utils.py, create_sm_control_context; low-latency mode and NIXL use no SMs."""
        given, sms = self.deployment, self.layout.sms
        if not given.two_batch_overlap or self._a2a in (*_BATCHED, "none"):
            return ()
        rule = f"dual-batch overlap leaves {sms} - {_DBO_SMS} (VLLM_DBO_COMM_SMS) SMs"
        return (SmLimit("dual-batch overlap", sms - _DBO_SMS, rule),)

    # ---- while weights load ----------------------------------------------------------------------------------

    def loads(self, sites: Sequence[CallSite]) -> Iterator[CallSite]:
        """Source: layers/quantization/utils/fp8_utils.py, deepgemm_post_process_fp8_weight_block."""
        if self._arch != "sm100":
            return
        source = "deepgemm_post_process_fp8_weight_block"
        weights = (*weight_loading.fp8_weights(sites), *weight_loading.einsum_weights(sites))
        yield from weight_loading.transformed(weights, 128, 128, source)
        yield from weight_loading.transformed(weight_loading.fp4_weights(sites), 1, 32, source)

    # ---- how large m becomes ---------------------------------------------------------------------------------

    @property
    def _step(self) -> int:
        """``max_num_batched_tokens``."""
        given = self.deployment
        if given.max_batched_tokens is not None:
            return given.max_batched_tokens
        if self._a2a in _BATCHED:
            return _BATCHED_DP_TOKENS
        memory = given.target.memory_bytes // GIB
        return next((tokens for limit, tokens in _BATCHED_TOKENS if memory < limit), _BATCHED_TOKENS_ABOVE)

    @property
    def _requests(self) -> tuple[int, str]:
        given = self.deployment
        if given.max_requests is not None:
            return min(given.max_requests, self._step), "requests of a decode step, --max-requests"
        return min(_MAX_REQUESTS, self._step), "requests of a decode step, the default of --max-num-seqs"

    def linear_rows(self, layer: Linear | Special, factor: int) -> Rows:
        requests, rule = self._requests
        match layer.tokens:
            case Tokens.KV:
                rule = "key-value tokens of one prefill chunk, 64 Ki at most"
                return self._dense_rows(layer, max(self._step, _KV_CHUNK_CAPACITY), rule)
            case Tokens.REQUESTS:
                return Rows(requests, rule)
            case Tokens.VERIFIED:
                verify = self.layout.verify
                stop = min(self._step, requests * verify)
                return Rows(stop, f"{rule}{f' * {verify} tokens' if verify > 1 else ''}")
        rule = f"max_num_batched_tokens {self._step}" + (f" * {factor} rows a token" if factor > 1 else "")
        return self._dense_rows(layer, self._step * factor, rule)

    def _dense_rows(self, layer: Linear | Special, stop: int, rule: str) -> Rows:
        """A range of a quantised linear layer; on Hopper, FlashInfer takes the small ones."""
        if self._arch == "sm90" and isinstance(layer, Linear):
            rule = f"{rule}; FlashInfer computes fewer than {_FLASHINFER_ROWS} rows on sm90"
            return Rows(max(stop, _FLASHINFER_ROWS), rule, _FLASHINFER_ROWS)
        return Rows(stop, rule)

    def expert_rows(self, kind: str, moe: MoeShape) -> Rows:
        if kind == "masked":
            tokens, ranks = self.deployment.max_dispatch_tokens or self._step, self.layout.ep
            rule = f"rows of the buffer: {tokens} dispatched tokens * {ranks} ranks; expected_m is rounded up to 16"
            return Rows(-(-tokens * ranks // 16) * 16, rule, 16, 16)
        # fused_moe/deep_gemm_utils.py, compute_aligned_M_and_alignment, at the tokens of all data-parallel ranks.
        pairs = self._step * self.deployment.dp * moe.top_k
        rows = pairs + min(pairs, moe.groups) * (ALIGNMENT - 1)
        rule = f"compute_aligned_M at {self._step} tokens * dp {self.deployment.dp} * top_k {moe.top_k}"
        return Rows(-(-rows // ALIGNMENT) * ALIGNMENT, rule, ALIGNMENT, ALIGNMENT)
