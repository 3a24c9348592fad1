"""Deployment: the options of an engine that shapes depend on."""

from __future__ import annotations

from typing import Literal

from attrs import field, fields, frozen

from kregistry.errors import InputError, quoted
from kregistry.target import Target

Fusion = Literal["auto", "on", "off"]
#: A group of ranks or a buffer that is larger than this is a mistake.
_LARGEST = 1 << 20


@frozen
class Deployment:
    """One parallel setting, with the names of the engine's options.

    Attributes:
        engine: ``sglang`` or ``vllm``.
        target: the GPU; its SM count and memory decide defaults of the engine.
        tp: tensor parallel size. SGLang: all ranks of one replica; vLLM: ranks of one data-parallel rank.
        ep: expert parallel size; ``None`` for the default of the engine.
        dp: data parallel size. SGLang: data-parallel attention inside ``tp``; vLLM: replicas of ``tp`` ranks each.
        a2a: all-to-all backend of the experts (SGLang ``--moe-a2a-backend``, vLLM ``--all2all-backend``).
        moe_runner: SGLang ``--moe-runner-backend``, vLLM ``--moe-backend``.
        moe_dense_tp: SGLang ``--moe-dense-tp-size``.
        shared_expert_fusion: whether the shared expert is computed as a routed one.
        redundant_experts: redundant experts of the expert load balancer, over all ranks.
        chunked_prefill: SGLang ``--chunked-prefill-size`` as given, before data-parallel attention divides it.
        max_batched_tokens: vLLM ``--max-num-batched-tokens``.
        max_dispatch_tokens: tokens that a rank may dispatch at once in DeepEP's low-latency mode.
        max_requests: requests of one decode step (SGLang ``--cuda-graph-max-bs-decode``, vLLM ``--max-num-seqs``).
        speculative_tokens: SGLang ``--speculative-num-draft-tokens``: tokens of a request in a verify step; vLLM
            ``num_speculative_tokens``: a verify step has one more.
        two_batch_overlap: SGLang ``--enable-two-batch-overlap``, vLLM ``--enable-dbo``.
        single_batch_overlap: SGLang ``--enable-single-batch-overlap``.
        eplb: whether the expert load balancer runs; redundant experts imply it.
        pp: pipeline stages.
        cp: context parallel size of attention in a prefill: SGLang ``--attn-cp-size`` inside ``tp``; vLLM
            ``--prefill-context-parallel-size``, which multiplies the ranks.
    """

    engine: str
    target: Target
    tp: int = field(default=1, metadata={"minimum": 1})
    ep: int | None = field(default=None, metadata={"minimum": 1})
    dp: int = field(default=1, metadata={"minimum": 1})
    a2a: str = "none"
    moe_runner: str = "auto"
    moe_dense_tp: int | None = field(default=None, metadata={"minimum": 1})
    shared_expert_fusion: Fusion = "auto"
    redundant_experts: int = field(default=0, metadata={"minimum": 0})
    chunked_prefill: int | None = field(default=None, metadata={"minimum": -1})
    max_batched_tokens: int | None = field(default=None, metadata={"minimum": 1})
    max_dispatch_tokens: int | None = field(default=None, metadata={"minimum": 1})
    max_requests: int | None = field(default=None, metadata={"minimum": 1})
    speculative_tokens: int | None = field(default=None, metadata={"minimum": 1})
    two_batch_overlap: bool = False
    single_batch_overlap: bool = False
    eplb: bool = False
    pp: int = field(default=1, metadata={"minimum": 1})
    cp: int = field(default=1, metadata={"minimum": 1})

    def __attrs_post_init__(self) -> None:
        for attribute in fields(type(self)):
            minimum = attribute.metadata.get("minimum")
            value = getattr(self, attribute.name)
            if minimum is not None and value is not None and not minimum <= value <= _LARGEST:
                raise InputError(f"{attribute.name}: expected an integer from {minimum} to {_LARGEST}, got {value}")
        if not self.moe_runner.isidentifier():
            raise InputError(f"moe_runner: expected a name such as deep_gemm, got {quoted(self.moe_runner)}")
