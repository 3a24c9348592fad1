"""Layout: how an engine spreads a model over its ranks, and what one rank holds."""

from __future__ import annotations

from attrs import frozen

#: DeepGEMM's alignment of the rows of each group in contiguous layouts.
ALIGNMENT = 128
#: DeepGEMM rounds the tokens of a mega MoE buffer up (kLCMCandidateBlockM of 0.2.3 and 2.8.1).
MEGA_ROUNDING = 1920


@frozen
class Layout:
    """The parallel layout that formulas see (:data:`kregistry.hf_config.model_family.LAYOUT_SYMBOLS`).

    Attributes:
        attention: ranks that share attention heads, ``A``.
        dense: ranks that share a dense MLP, ``T``.
        shared: ranks that share the shared expert, ``S``.
        ep: ranks that the experts are spread over.
        moe_tp: ranks that share one expert.
        fused: shared experts that are fused into the routed ones.
        redundant: redundant experts of the load balancer, over all ranks.
        sms: SMs of the GPU.
        verify: tokens of a request that one decode step computes.
        pp: pipeline stages.
        mega_tokens: tokens that one rank's buffer of mega MoE holds.
        mega_sms: SMs that mega MoE uses.
        mega_shared: shared experts that mega MoE computes too.
    """

    attention: int
    dense: int
    shared: int
    ep: int
    moe_tp: int
    fused: int = 0
    redundant: int = 0
    sms: int = 0
    verify: int = 1
    pp: int = 1
    mega_tokens: int = 0
    mega_sms: int = 0
    mega_shared: int = 0

    def symbols(self) -> dict[str, int]:
        return {
            "A": self.attention,
            "T": self.dense,
            "S": self.shared,
            "ep": self.ep,
            "moe_tp": self.moe_tp,
            "fused": self.fused,
            "redundant": self.redundant,
            "sms": self.sms,
            "verify": self.verify,
            "pp": self.pp,
            "mega_tokens": self.mega_tokens,
            "mega_sms": self.mega_sms,
            "mega_shared": self.mega_shared,
        }
