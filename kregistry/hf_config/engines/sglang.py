"""SGLang 0.5.23. Paths in comments are relative to ``sglang/srt``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from kregistry.errors import InputError, quoted
from kregistry.hf_config.call_site import CallSite, Rows, Verdict
from kregistry.hf_config.engines import activation_scales, weight_loading
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
# arg_groups/memory_hook.py: device memory in MiB below which chunked_prefill_size defaults to the second number.
_CHUNKED_PREFILL = ((20 * 1024, 2048), (60 * 1024, 4096), (160 * 1024, 8192))
_CHUNKED_PREFILL_ABOVE = 16384
# SGLANG_MAX_KV_CHUNK_CAPACITY, models/deepseek_common/attention_forward_methods/forward_mha.py.
_KV_CHUNK_CAPACITY = 128 * 1024
# SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK.
_MAX_DISPATCH = 128
#: The masked layout without DeepEP has rows for the next multiple of this (moe_runner/deep_gemm.py).
_MASKED_ROWS = 256
# --max-prefill-tokens: bounds a step when prefill is not chunked.
_MAX_PREFILL_TOKENS = 16384
# layers/attention/dsa/dsa_indexer.py, DUAL_STREAM_TOKEN_THRESHOLD.
_DUAL_STREAM_TOKENS = 1024
# SGLANG_OPT_DEEPGEMM_MEGA_MOE_NUM_MAX_TOKENS_PER_RANK and _RESERVED_SMS.
_MEGA_TOKENS = 8192
_MEGA_RESERVED_SMS = 2
# deep_ep.Buffer.num_sms, which layers/moe/token_dispatcher/deepep.py takes unless a DeepEP config says otherwise.
_DEEPEP_SMS = 20
# batch_overlap/single_batch_overlap.py: SMs that send the results of experts, by arch.
_COMBINE_SMS = {"sm90": 3, "sm100": 32}
# batch_overlap/operations_strategy.py: models whose layers give up SMs in a prefill of two batches.
_TWO_BATCH = ("deepseekv2", "deepseekv3", "glmmoedsa", "kimik25", "qwen3moe", "qwen3vlmoe", "mimov2")


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
        if given.tp % (given.dp * given.cp):
            what = f"dp {given.dp}" if given.cp == 1 else f"dp {given.dp} * cp {given.cp}"
            raise InputError(
                f"{what} does not divide tp {given.tp}",
                "sglang: dp attention divides the tp ranks, e.g. --tp 8 --dp 8",
            )
        if given.cp > 1 and given.pp > 1:
            raise InputError("sglang has no pipeline stages with context parallel attention")
        attention = given.tp // given.dp // given.cp
        # arg_groups/validation_hook.py: moe_dense_tp_size only supports None, 1 or tp_size.
        if given.moe_dense_tp not in (None, 1, given.tp):
            raise InputError(f"sglang takes --moe-dense-tp-size 1 or {given.tp} (tp), got {given.moe_dense_tp}")
        if given.a2a == "megamoe" and (given.two_batch_overlap or given.single_batch_overlap):
            raise InputError("sglang has no two-batch or single-batch overlap with --moe-a2a-backend megamoe")
        if given.two_batch_overlap and not self._a2a:
            raise InputError(
                "sglang overlaps two batches only with an all-to-all backend", "e.g. --moe-a2a-backend deepep"
            )
        ep = given.ep or 1
        if self._a2a and self.experts and ep != given.tp:
            if given.ep is not None:
                self.notes.append(f"{given.a2a} makes sglang use ep = tp = {given.tp} (--ep {given.ep} was given)")
            ep = given.tp
        self.check_experts(given.tp, ep)
        if given.a2a == "megamoe" and self._step > self._mega_tokens:
            # arg_groups/mega_moe_hook.py, validate_mega_moe_token_budget.
            self.notes.append(
                f"sglang does not start with {self._step} tokens of a prefill step and {self._mega_tokens} in the "
                f"buffer of mega MoE: lower --chunked-prefill-size, or raise --max-dispatch-tokens "
                f"(SGLANG_OPT_DEEPGEMM_MEGA_MOE_NUM_MAX_TOKENS_PER_RANK)"
            )
        sms = given.target.num_sms
        mega_sms = max(2, sms - _MEGA_RESERVED_SMS) // 2 * 2 if given.target.arch == "sm100" else sms
        return Layout(
            attention=attention,
            dense=given.moe_dense_tp or given.tp,
            shared=1 if self._a2a else given.tp,
            ep=ep,
            moe_tp=given.tp // ep if self.experts else 1,
            fused=self._fused(ep),
            redundant=given.redundant_experts,
            sms=sms,
            verify=given.speculative_tokens or 1,
            pp=given.pp,
            mega_tokens=-(-self._mega_tokens // MEGA_ROUNDING) * MEGA_ROUNDING if given.a2a == "megamoe" else 0,
            mega_sms=mega_sms,
            mega_shared=self._mega_shared(),
        )

    @property
    def _a2a(self) -> bool:
        return self.deployment.a2a != "none"

    def _mega_shared(self) -> int:
        """Source: layers/moe/mega_moe.py, should_fuse_mega_moe_shared_experts: on SM100, beside FP4 experts."""
        used = self.deployment.a2a == "megamoe" and self._arch == "sm100" and not self._mega_moe_fault()
        return self.mega_shared_experts() if used else 0

    @property
    def _mega_tokens(self) -> int:
        return self.deployment.max_dispatch_tokens or _MEGA_TOKENS

    @property
    def _arch(self) -> str:
        return self.deployment.target.arch

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
        if self._arch == "sm100":
            return _SM100_RUNNERS.get(self.config.architecture, "triton")
        return "triton"

    @property
    def _fp4_experts(self) -> bool:
        return self.config.values.get("expert_dtype") == "fp4"

    def _fused(self, ep: int) -> int:
        wish = self.deployment.shared_expert_fusion
        if wish == "off" or not self.shared_experts:
            return 0
        if self.config.architecture in _APART:
            if wish == "on":
                raise InputError(f"sglang never fuses the shared expert of {self.config.architecture} on NVIDIA GPUs")
            return 0
        # models/qwen2_moe.py, can_fuse_shared_expert: one more expert of the same size, also where experts are spread.
        if self.shared_fusion == "same size":
            trtllm = self._runner().startswith("flashinfer_trtllm")
            sizes = (
                self.config.values.get(key) for key in ("moe_intermediate_size", "shared_expert_intermediate_size")
            )
            return 0 if self._a2a or trtllm or len(set(sizes)) > 1 else self.shared_experts
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
            and not self.deployment.single_batch_overlap
        )
        return self.shared_experts if possible and by_default else 0

    # ---- what goes to DeepGEMM -------------------------------------------------------------------------------

    def block_decision(self, layer: Linear, k: int, parts: tuple[int, ...], ways: int) -> Decision | None:
        """Source: layers/quantization/fp8.py, validate_block_quant_shapes.

        A merged layer that is not split may end in a shorter part: SGLang holds it as one (kv_a_proj: 576 rows).
        """
        block = self.config.quantization.of(layer.weights).block
        assert block is not None, "only weights in blocks are checked"
        cut = layer.split == "column" and (ways > 1 or len(parts) > 1)
        fault = row_fault(layer, k, ways, block[1]) or column_fault(parts if cut else parts[:-1], block[0])
        return self._refused(fault) if fault else None

    @staticmethod
    def _refused(fault: str) -> Decision:
        return Decision(Verdict.DOES_NOT_LOAD, f"sglang refuses to load the model: {fault}", "block")

    def dense_kernel_type(self, layer: Linear, n: int, k: int) -> str | Decision:
        """Source: layers/quantization/fp8_utils.py, dispatch_w8a8_block_fp8_linear, _deepgemm_block_fp8_supported."""
        quantization = self.config.quantization.of(layer.weights)
        if quantization.block == (32, 32):
            # Native on SM90; on SM100 only with --fp8-gemm-backend deep_gemm and powers of two as scale factors.
            if self._arch != "sm90":
                return Decision(
                    Verdict.OTHER_BACKEND, f"weights are {quantization.scheme}: Triton on {self._arch}", "scheme"
                )
            return aligned(n, k, self.name, 8, 32) or "fp8_gemm_nt_block32"
        if quantization.block != (128, 128):
            return Decision(Verdict.OTHER_BACKEND, f"weights are {quantization.scheme}: Triton", "scheme")
        longcat = self.config.architecture.startswith("LongcatFlash")
        if longcat and self._arch == "sm100" and not quantization.ue8m0:
            return Decision(Verdict.OTHER_BACKEND, "LongCat without ue8m0 scales uses flashinfer_trtllm", "backend")
        return aligned(n, k, self.name) or "fp8_gemm_nt"

    def experts_decision(self, moe: MoeShape, layer: Experts) -> Decision:
        quantization = self.config.quantization.of(layer.weights)
        bf16 = not quantization.quantized or bool(quantization.skips(layer.weights))
        if self.deployment.a2a == "megamoe" and not bf16:
            refused = self._mega_moe_fault()
            if refused:
                return Decision(Verdict.OTHER_BACKEND, refused, "arch")
            return Decision(Verdict.FUSED, "computed by mega MoE, in one launch", "megamoe")
        if quantization.block is None and not bf16:
            return Decision(Verdict.OTHER_BACKEND, f"experts are {quantization.scheme}: not FP8 in blocks", "scheme")
        if not bf16:
            if quantization.block != (128, 128):
                return Decision(Verdict.OTHER_BACKEND, f"experts are {quantization.scheme}: Triton", "scheme")
            if moe.intermediate % 128:
                return self._refused(
                    f"{moe.intermediate} rows of an expert on this rank are no multiple of the block's 128"
                )
            if quantization.method == "compressed-tensors":
                return Decision(
                    Verdict.OTHER_BACKEND, "experts of compressed-tensors checkpoints do not use DeepGEMM", "scheme"
                )
        decision = self.bf16_experts_decision()
        if decision is not GOES:
            return decision
        if not bf16 and layer.fp4 and self._fp4_experts and self._arch == "sm90":
            return Decision(Verdict.OTHER_BACKEND, "DeepGEMM takes FP4 weights on sm100 and later only", "arch")
        return GOES

    def bf16_experts_decision(self) -> Decision:
        runner = self._runner()
        if runner == "deep_gemm":
            return GOES
        hint = " (DeepGEMM with --moe-a2a-backend deepep or --moe-runner-backend deep_gemm)"
        return Decision(Verdict.OTHER_BACKEND, f"the MoE runner is {runner}{hint}", "runner")

    def special_decision(self, layer: Special) -> Decision:
        if layer.needs == "fp8_wo_a" and self._arch == "sm90":
            return Decision(
                Verdict.OTHER_BACKEND,
                "BF16 bmm on sm90, unless SGLANG_OPT_FP8_WO_A_GEMM=1 is set explicitly",
                "arch",
            )
        if layer.needs == "deepgemm_bmm":
            return Decision(Verdict.OTHER_BACKEND, "bmm, unless SGLANG_USE_DEEPGEMM_BMM=1 (sm90 only)", "backend")
        if layer.needs == "megamoe":
            refused = self._mega_moe_fault()
            if refused:
                return Decision(Verdict.OTHER_BACKEND, refused, "arch")
        return GOES

    def _mega_moe_fault(self) -> str:
        """Why mega MoE does not take the experts; empty if it does.

        Source: layers/quantization/fp8.py: FP8 experts in blocks on SM90 (mega_moe_sm90.py), FP4 experts on SM100.
        """
        quantization = self.config.quantization
        if quantization.block != (128, 128):
            return f"mega MoE does not take experts that are {quantization.scheme}"
        if (self._arch == "sm90") == self._fp4_experts:
            return f"mega MoE does not take {'FP4' if self._fp4_experts else 'FP8'} experts on {self._arch}"
        return ""

    def expert_kernel_types(self) -> tuple[str, ...]:
        return ("contiguous", "masked")

    # ---- fewer SMs -------------------------------------------------------------------------------------------

    def sm_limits(self, layer: Linear | Experts | Special, kind: str = "") -> tuple[SmLimit, ...]:
        given, sms = self.deployment, self.layout.sms
        limits: list[SmLimit] = []
        if given.two_batch_overlap and self._overlaps(layer, kind):
            rule = f"two-batch overlap leaves {sms} - {_DEEPEP_SMS} (DeepEP) SMs in a prefill"
            limits.append(SmLimit("two-batch overlap", sms - _DEEPEP_SMS, rule))
        shared = isinstance(layer, Linear) and layer.over == "S"
        if given.single_batch_overlap and self._arch == "sm100" and shared and self._a2a:
            combine = _COMBINE_SMS[self._arch]
            rule = f"single-batch overlap leaves {sms} - {combine} (combine) SMs"
            limits.append(SmLimit("single-batch overlap", sms - combine, rule))
        return tuple(limits)

    def _overlaps(self, layer: Linear | Experts | Special, kind: str) -> bool:
        """Whether a call is part of the layers that two batches pass together, in a prefill."""
        if not self.config.architecture.lower().startswith(_TWO_BATCH):
            return False
        match layer:
            case Experts():
                return kind == "contiguous"
            case Linear():
                return layer.over != "T" and layer.part != "NextN"
            case Special():
                return layer.tokens is Tokens.STEP

    # ---- while weights load ----------------------------------------------------------------------------------

    def loads(self, sites: Sequence[CallSite]) -> Iterator[CallSite]:
        """Source: layers/quantization/fp8_utils.py, transform_scale_ue8m0; layers/quantization/fp8.py for FP4."""
        if self._arch == "sm90":
            yield from self._transposed(sites)
        if self._arch != "sm100":
            return
        yield from weight_loading.packed(weight_loading.fp8_weights(sites), "transform_scale_ue8m0")
        yield from weight_loading.transformed(weight_loading.einsum_weights(sites), 128, 128, "_setup_fp8_wo_a_scales")
        fp4 = (*weight_loading.fp4_weights(sites), *weight_loading.mega_weights(sites))
        yield from weight_loading.transformed(fp4, 1, 32, "process_weights_after_loading_block_quant")

    def _transposed(self, sites: Sequence[CallSite]) -> Iterator[CallSite]:
        """Scale factors that reach the masked layout row by row.

        DeepEP brings those of w13 in DeepGEMM's layout, and so does the activation those of w2, unless it is clamped.
        """
        source, tokens = "moe_runner/deep_gemm.py, _run_masked_gemm", self._step * self.deployment.dp
        if self._a2a:
            per_rank, ranks = self.deployment.max_dispatch_tokens or _MAX_DISPATCH, self.layout.ep * self.layout.moe_tp
            stop = per_rank * ranks
            rows = Rows(stop, f"rows of DeepEP's buffer: {per_rank} dispatched tokens * {ranks} ranks", stop)
        else:
            stop = (tokens // _MASKED_ROWS + 1) * _MASKED_ROWS
            rule = f"{tokens} tokens, padded to more than a multiple of {_MASKED_ROWS}"
            rows = Rows(stop, rule, _MASKED_ROWS, _MASKED_ROWS)
            yield from activation_scales.transposed(sites, "w13", rows, source)
        if self.config.values.get("swiglu_limit"):
            yield from activation_scales.transposed(sites, "w2", rows, source)

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

    @property
    def _requests(self) -> tuple[int, str]:
        """The requests of a decode step, and the rule (arg_groups/memory_hook.py)."""
        given = self.deployment
        if given.max_requests is not None:
            return given.max_requests, "requests of a decode step, --max-requests"
        few = given.tp < 4 and given.target.memory_bytes < 160 * GIB
        return (256 if few else 512), "requests of a decode step, the default of --cuda-graph-max-bs-decode"

    def linear_rows(self, layer: Linear | Special, factor: int) -> Rows:
        requests, rule = self._requests
        verify = self.layout.verify
        match layer.tokens:
            case Tokens.KV:
                rule = "key-value tokens of one prefill chunk, SGLANG_MAX_KV_CHUNK_CAPACITY"
                return Rows(max(self._warmed, _KV_CHUNK_CAPACITY), rule)
            case Tokens.REQUESTS:
                return Rows(requests, rule)
            case Tokens.VERIFIED:
                return Rows(requests * verify, f"{rule}{f' * {verify} tokens' if verify > 1 else ''}")
            case Tokens.CAPTURED:
                return Rows(_DUAL_STREAM_TOKENS, "tokens of a captured decode step, DUAL_STREAM_TOKEN_THRESHOLD")
            case Tokens.MEGA:
                rule = f"chunked prefill {self._step}, at most {self._mega_tokens} tokens in the buffer of mega MoE"
                return Rows(min(max(self._step, requests * verify), self._mega_tokens), rule)
        if isinstance(layer, Special) and layer.start is not None:
            return Rows(self._step, f"chunked prefill {self._step}")
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
