"""vLLM 0.33.0. A path in a comment is the end of one below ``vllm``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import ClassVar

from kregistry.errors import InputError
from kregistry.hf_config.call_site import CallSite, LayerVerdict, Rows
from kregistry.hf_config.engines import weight_loading
from kregistry.hf_config.engines.decision import GOES, Decision, aligned, column_fault, row_fault
from kregistry.hf_config.engines.engine import Engine, MoeShape, SmLimit
from kregistry.hf_config.engines.layout import MEGA_ROUNDING, Layout
from kregistry.hf_config.engines.vllm_a2a import AllToAll
from kregistry.hf_config.engines.vllm_moe import DISABLED, NOT_QUANTIZED, VLLMMoe
from kregistry.hf_config.engines.vllm_rows import VLLMRows
from kregistry.hf_config.engines.vllm_steps import VLLMSteps
from kregistry.hf_config.model_family import Experts, Linear, Special

# VLLM_DBO_COMM_SMS.
_DBO_SMS = 20


class VLLM(Engine):
    """vLLM: ``tp * dp`` ranks; with expert parallelism the experts are spread over all of them."""

    name: ClassVar[str] = "vllm"
    version: ClassVar[str] = "0.33.0"

    @cached_property
    def _a2a(self) -> AllToAll:
        return AllToAll.of(self.deployment, self.experts)

    @property
    def _steps(self) -> VLLMSteps:
        return VLLMSteps(self.deployment, self._a2a.batched)

    @property
    def _moe(self) -> VLLMMoe:
        return VLLMMoe(self.deployment, self.config, self._a2a)

    @property
    def _rows(self) -> VLLMRows:
        return VLLMRows(self._steps, self.layout)

    # ---- layout ----------------------------------------------------------------------------------------------

    def _layout(self) -> Layout:
        given, a2a = self.deployment, self._a2a
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
        step, mega = self._steps.tokens, given.moe_runner == "deep_gemm_mega_moe"
        return Layout(
            attention=given.tp,
            dense=given.tp,
            shared=1 if a2a.sequence_parallel else given.tp,
            ep=ep,
            moe_tp=ranks // ep if self.experts else 1,
            redundant=given.redundant_experts,
            sms=given.target.num_sms,
            verify=1 + (given.speculative_tokens or 0),
            pp=given.pp,
            mega_tokens=-(-step // MEGA_ROUNDING) * MEGA_ROUNDING if mega else 0,
            mega_sms=given.target.num_sms,
            # models/deepseek_v4/nvidia/model.py: where each rank has the shared expert whole.
            mega_shared=self.mega_shared_experts() if mega and (a2a.sequence_parallel or given.tp == 1) else 0,
        )

    @property
    def _arch(self) -> str:
        return self.deployment.target.arch

    # ---- what goes to DeepGEMM -------------------------------------------------------------------------------

    def block_decision(self, layer: Linear, k: int, parts: tuple[int, ...], ways: int) -> Decision | None:
        """Source: layers/quantization/utils/fp8_utils.py, validate_fp8_block_shape.

        Merged layers with other parts are allowed (layers/linear.py, _maybe_allow_fp8_block_shape_mismatch).
        """
        block = self.config.quantization.of(layer.weights).block
        assert block is not None, "only weights in blocks are checked"
        single = layer.split == "column" and ways > 1 and len(parts) == 1
        fault = row_fault(layer, k, ways, block[1]) or (column_fault(parts, block[0]) if single else "")
        if not fault:
            return None
        return Decision(LayerVerdict.DOES_NOT_LOAD, f"vllm refuses to load the model: {fault}", "block")

    def dense_kernel_type(self, layer: Linear, n: int, k: int) -> str | Decision:
        """Source: utils/deep_gemm.py, should_use_deepgemm_for_fp8_linear."""
        quantization = self.config.quantization.of(layer.weights)
        if quantization.block != (128, 128):
            reason = f"weights are {quantization.scheme}: vllm uses DeepGEMM for groups of 128 columns"
            return Decision(LayerVerdict.OTHER_BACKEND, reason, "scheme")
        if self._moe.disabled:
            model_type = self.config.values.get("model_type")
            return Decision(LayerVerdict.OTHER_BACKEND, f"vllm does not use DeepGEMM for {model_type} here", "backend")
        return aligned(n, k, self.name) or "fp8_gemm_nt"

    def padded_intermediate(self, intermediate: int, block: int) -> int:
        """Source: fused_moe/oracle/fp8.py, pad_tp_shard_to_weight_blocks: only if the backend is asked for."""
        if self.deployment.moe_runner == "auto" or self.layout.ep > 1 or self.layout.moe_tp == 1:
            return intermediate
        return -(-intermediate // block) * block

    def experts_decision(self, moe: MoeShape, layer: Experts) -> Decision:
        return self._moe.decision(moe, layer)

    def bf16_experts_decision(self) -> Decision:
        return NOT_QUANTIZED

    def special_decision(self, layer: Special) -> Decision:
        if layer.needs == "deepgemm_bmm":
            return Decision(LayerVerdict.OTHER_BACKEND, "bmm", "backend")
        if layer.needs == "fp8_wo_a" and self._moe.disabled:
            return DISABLED
        if layer.needs == "megamoe" and self.config.values.get("expert_dtype", "fp4") != "fp4":
            return Decision(LayerVerdict.DOES_NOT_LOAD, "vllm takes FP4 experts only with deep_gemm_mega_moe", "runner")
        return GOES

    def expert_kernel_types(self) -> tuple[str, ...]:
        return ("masked",) if self._a2a.batched else ("contiguous",)

    def expert_settings(self, kind: str) -> Mapping[str, bool]:
        """Source: fused_moe/experts/deep_gemm_moe.py, use_psum_layout, with the scale factors that DeepGEMM prefers."""
        return {"use_psum_layout": True} if kind == "contiguous" else {}

    # ---- fewer SMs -------------------------------------------------------------------------------------------

    def sm_limits(self, layer: Linear | Experts | Special, kind: str = "") -> tuple[SmLimit, ...]:
        """Source: v1/worker/ubatch_utils.py, create_sm_control_context; low-latency mode and NIXL use no SMs."""
        given, sms = self.deployment, self.layout.sms
        if not given.two_batch_overlap or self._a2a.batched or self._a2a.name == "none":
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

    def linear_rows(self, layer: Linear | Special, factor: int) -> Rows:
        return self._rows.of_linear(layer, factor)

    def expert_rows(self, kind: str, moe: MoeShape) -> Rows:
        return self._rows.of_experts(kind, moe)
