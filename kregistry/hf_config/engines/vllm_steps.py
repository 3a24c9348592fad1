"""The tokens and requests of one step of vLLM 0.33.0. A path in a comment is the end of one below ``vllm``."""

from __future__ import annotations

from attrs import frozen

from kregistry.hf_config.deployment import Deployment
from kregistry.target import GIB

# Defaults of max_num_batched_tokens of the server, by device memory in GiB below which it is the second number;
# SchedulerConfig for batched data-parallel MoE.
_BATCHED_TOKENS = ((70, 2048), (160, 8192))
_BATCHED_TOKENS_ABOVE = 16384
_BATCHED_DP_TOKENS = 256
# Default of --max-num-seqs of the server.
_MAX_REQUESTS = 1024


@frozen
class VLLMSteps:
    """The sizes of the steps of one setting.

    Attributes:
        deployment: the setting.
        batched: whether the all-to-all backend fills one buffer for each expert.
    """

    deployment: Deployment
    batched: bool

    @property
    def tokens(self) -> int:
        """The largest number of tokens of a step, ``max_num_batched_tokens``."""
        given = self.deployment
        if given.max_batched_tokens is not None:
            return given.max_batched_tokens
        if self.batched:
            return _BATCHED_DP_TOKENS
        memory = given.target.memory_bytes // GIB
        return next((tokens for limit, tokens in _BATCHED_TOKENS if memory < limit), _BATCHED_TOKENS_ABOVE)

    @property
    def requests(self) -> tuple[int, str]:
        """The requests of a decode step, and the rule."""
        given = self.deployment
        if given.max_requests is not None:
            return min(given.max_requests, self.tokens), "requests of a decode step, --max-requests"
        return min(_MAX_REQUESTS, self.tokens), "requests of a decode step, the default of --max-num-seqs"
