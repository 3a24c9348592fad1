"""SGLang 0.5.23. Paths in comments are relative to ``sglang/srt``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from kregistry.errors import InputError, quoted
from kregistry.hf_config.call_site import CallSite, LayerVerdict, Rows
from kregistry.hf_config.engines import activation_scales, weight_loading
from kregistry.hf_config.engines.decision import GOES, Decision, aligned, column_fault, row_fault
from kregistry.hf_config.engines.engine import Engine, MoeShape, SmLimit
from kregistry.hf_config.engines.layout import MEGA_ROUNDING, Layout
from kregistry.hf_config.engines.sglang_moe import SGLangMoe
from kregistry.hf_config.engines.sglang_overlap import sm_limits
from kregistry.hf_config.engines.sglang_rows import SGLangRows
from kregistry.hf_config.engines.sglang_steps import SGLangSteps
from kregistry.hf_config.model_family import Experts, Linear, Special

# layers/moe/utils.py, MoeA2ABackend; arg_groups/overrides.py, _A2A_EP_SPANNING_BACKENDS: ep becomes tp.
A2A_BACKENDS = ("none", "deepep", "mooncake", "nixl", "mori", "flashinfer", "megamoe", "deepep_v2", "pplx")
# SGLANG_OPT_DEEPGEMM_MEGA_MOE_RESERVED_SMS.
_MEGA_RESERVED_SMS = 2


class SGLang(Engine):
    """SGLang: ``tp`` ranks in all; data-parallel attention is inside them."""

    name: ClassVar[str] = "sglang"
    version: ClassVar[str] = "0.5.23"

    @property
    def _steps(self) -> SGLangSteps:
        return SGLangSteps(self.deployment)

    @property
    def _moe(self) -> SGLangMoe:
        return SGLangMoe(self.deployment, self.config, self.experts, self.shared_experts, self.shared_fusion)

    @property
    def _rows(self) -> SGLangRows:
        return SGLangRows(self._steps, self.layout)

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
        if given.two_batch_overlap and not self._moe.a2a:
            raise InputError(
                "sglang overlaps two batches only with an all-to-all backend", "e.g. --moe-a2a-backend deepep"
            )
        ep = given.ep or 1
        if self._moe.a2a and self.experts and ep != given.tp:
            if given.ep is not None:
                self.notes.append(f"{given.a2a} makes sglang use ep = tp = {given.tp} (--ep {given.ep} was given)")
            ep = given.tp
        self.check_experts(given.tp, ep)
        if given.a2a == "megamoe" and self._steps.tokens > self._steps.mega_tokens:
            # arg_groups/mega_moe_hook.py, validate_mega_moe_token_budget.
            self.notes.append(
                f"sglang does not start with {self._steps.tokens} tokens of a prefill step and "
                f"{self._steps.mega_tokens} in the buffer of mega MoE: lower --chunked-prefill-size, or raise "
                f"--max-dispatch-tokens (SGLANG_OPT_DEEPGEMM_MEGA_MOE_NUM_MAX_TOKENS_PER_RANK)"
            )
        sms = given.target.num_sms
        mega_sms = max(2, sms - _MEGA_RESERVED_SMS) // 2 * 2 if given.target.arch == "sm100" else sms
        return Layout(
            attention=attention,
            dense=given.moe_dense_tp or given.tp,
            shared=1 if self._moe.a2a else given.tp,
            ep=ep,
            moe_tp=given.tp // ep if self.experts else 1,
            fused=self._moe.fused(ep),
            redundant=given.redundant_experts,
            sms=sms,
            verify=given.speculative_tokens or 1,
            pp=given.pp,
            mega_tokens=-(-self._steps.mega_tokens // MEGA_ROUNDING) * MEGA_ROUNDING if given.a2a == "megamoe" else 0,
            mega_sms=mega_sms,
            mega_shared=self._mega_shared(),
        )

    def _mega_shared(self) -> int:
        """Source: layers/moe/mega_moe.py, should_fuse_mega_moe_shared_experts: on SM100, beside FP4 experts."""
        used = self.deployment.a2a == "megamoe" and self._arch == "sm100" and not self._moe.mega_fault()
        return self.mega_shared_experts() if used else 0

    @property
    def _arch(self) -> str:
        return self.deployment.target.arch

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
        return Decision(LayerVerdict.DOES_NOT_LOAD, f"sglang refuses to load the model: {fault}", "block")

    def dense_kernel_type(self, layer: Linear, n: int, k: int) -> str | Decision:
        """Source: layers/quantization/fp8_utils.py, dispatch_w8a8_block_fp8_linear, _deepgemm_block_fp8_supported."""
        quantization = self.config.quantization.of(layer.weights)
        if quantization.block == (32, 32):
            # Native on SM90; on SM100 only with --fp8-gemm-backend deep_gemm and powers of two as scale factors.
            if self._arch != "sm90":
                return Decision(
                    LayerVerdict.OTHER_BACKEND, f"weights are {quantization.scheme}: Triton on {self._arch}", "scheme"
                )
            return aligned(n, k, self.name, 8, 32) or "fp8_gemm_nt_block32"
        if quantization.block != (128, 128):
            return Decision(LayerVerdict.OTHER_BACKEND, f"weights are {quantization.scheme}: Triton", "scheme")
        longcat = self.config.architecture.startswith("LongcatFlash")
        if longcat and self._arch == "sm100" and not quantization.ue8m0:
            return Decision(
                LayerVerdict.OTHER_BACKEND, "LongCat without ue8m0 scales uses flashinfer_trtllm", "backend"
            )
        return aligned(n, k, self.name) or "fp8_gemm_nt"

    def experts_decision(self, moe: MoeShape, layer: Experts) -> Decision:
        quantization = self.config.quantization.of(layer.weights)
        bf16 = not quantization.quantized or bool(quantization.skips(layer.weights))
        if self.deployment.a2a == "megamoe" and not bf16:
            refused = self._moe.mega_fault()
            if refused:
                return Decision(LayerVerdict.OTHER_BACKEND, refused, "arch")
            return Decision(LayerVerdict.FUSED, "computed by mega MoE, in one launch", "megamoe")
        if quantization.block is None and not bf16:
            return Decision(
                LayerVerdict.OTHER_BACKEND, f"experts are {quantization.scheme}: not FP8 in blocks", "scheme"
            )
        if not bf16:
            if quantization.block != (128, 128):
                return Decision(LayerVerdict.OTHER_BACKEND, f"experts are {quantization.scheme}: Triton", "scheme")
            if moe.intermediate % 128:
                return self._refused(
                    f"{moe.intermediate} rows of an expert on this rank are no multiple of the block's 128"
                )
            if quantization.method == "compressed-tensors":
                return Decision(
                    LayerVerdict.OTHER_BACKEND,
                    "experts of compressed-tensors checkpoints do not use DeepGEMM",
                    "scheme",
                )
        decision = self.bf16_experts_decision()
        if decision is not GOES:
            return decision
        if not bf16 and layer.fp4 and self._moe.fp4 and self._arch == "sm90":
            return Decision(LayerVerdict.OTHER_BACKEND, "DeepGEMM takes FP4 weights on sm100 and later only", "arch")
        return GOES

    def bf16_experts_decision(self) -> Decision:
        runner = self._moe.runner()
        if runner == "deep_gemm":
            return GOES
        hint = " (DeepGEMM with --moe-a2a-backend deepep or --moe-runner-backend deep_gemm)"
        return Decision(LayerVerdict.OTHER_BACKEND, f"the MoE runner is {runner}{hint}", "runner")

    def special_decision(self, layer: Special) -> Decision:
        if layer.needs == "fp8_wo_a" and self._arch == "sm90":
            return Decision(
                LayerVerdict.OTHER_BACKEND,
                "BF16 bmm on sm90, unless SGLANG_OPT_FP8_WO_A_GEMM=1 is set explicitly",
                "arch",
            )
        if layer.needs == "deepgemm_bmm":
            return Decision(LayerVerdict.OTHER_BACKEND, "bmm, unless SGLANG_USE_DEEPGEMM_BMM=1 (sm90 only)", "backend")
        if layer.needs == "megamoe":
            refused = self._moe.mega_fault()
            if refused:
                return Decision(LayerVerdict.OTHER_BACKEND, refused, "arch")
        return GOES

    def expert_kernel_types(self) -> tuple[str, ...]:
        return ("contiguous", "masked")

    # ---- fewer SMs -------------------------------------------------------------------------------------------

    def sm_limits(self, layer: Linear | Experts | Special, kind: str = "") -> tuple[SmLimit, ...]:
        return sm_limits(self.deployment, self.config, layer, kind)

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
        rows = self._rows.of_masked_scales()
        weights = ("w13",) if self.deployment.a2a == "none" else ()
        clamped = ("w2",) if self.config.values.get("swiglu_limit") else ()
        for weight in (*weights, *clamped):
            yield from activation_scales.transposed(sites, weight, rows, "moe_runner/deep_gemm.py, _run_masked_gemm")

    # ---- how large m becomes ---------------------------------------------------------------------------------

    def linear_rows(self, layer: Linear | Special, factor: int) -> Rows:
        return self._rows.of_linear(layer, factor)

    def expert_rows(self, kind: str, moe: MoeShape) -> Rows:
        return self._rows.of_experts(kind, moe)
