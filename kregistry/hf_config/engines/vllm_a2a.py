"""The all-to-all backends of vLLM 0.33.0. A path in a comment is the end of one below ``vllm``."""

from __future__ import annotations

from attrs import frozen

from kregistry.errors import InputError, quoted
from kregistry.hf_config.deployment import Deployment

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


@frozen
class AllToAll:
    """The all-to-all backend of one setting.

    Attributes:
        name: the backend in use; ``none`` unless experts are spread over data-parallel ranks.
        sequence_parallel: whether the ranks that share attention divide the tokens among themselves for the experts.
    """

    name: str
    sequence_parallel: bool

    @classmethod
    def of(cls, given: Deployment, experts: int) -> AllToAll:
        """The backend of a setting.

        Args:
            given: the setting.
            experts: routed experts of the model; 0 for a dense one.

        Raises:
            InputError: vLLM has no such backend.
        """
        if given.a2a in _REMOVED:
            raise InputError(
                f"vllm has removed the all-to-all backend {quoted(given.a2a)}; it uses allgather_reducescatter instead",
                f"known: {', '.join(A2A_BACKENDS)}",
            )
        if given.a2a not in A2A_BACKENDS:
            raise InputError(f"vllm has no all-to-all backend {quoted(given.a2a)}", f"known: {', '.join(A2A_BACKENDS)}")
        ranks, ep = given.tp * given.dp * given.cp, given.ep or 1
        spread = experts > 0 and ep == ranks > 1 and (given.dp > 1 or given.cp > 1)
        name = "allgather_reducescatter" if given.a2a == "none" else given.a2a
        divided = given.a2a in _SEQUENCE_PARALLEL and ep > 1 and given.tp > 1 and given.dp > 1
        return cls(name if spread else "none", divided)

    @property
    def batched(self) -> bool:
        """Whether it fills one buffer for each expert, and uses no SMs."""
        return self.name in _BATCHED

    @property
    def flashinfer(self) -> bool:
        """Whether it is one of FlashInfer's, which DeepGEMM does not work with."""
        return self.name in _FLASHINFER_A2A

    @property
    def trtllm(self) -> bool:
        """Whether the experts of TensorRT-LLM work with it."""
        return self.name in _TRTLLM_A2A
