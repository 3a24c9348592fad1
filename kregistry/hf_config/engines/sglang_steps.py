"""How many tokens and requests one step of SGLang 0.5.23 computes. Paths in comments are relative to ``sglang/srt``."""

from __future__ import annotations

from attrs import frozen

from kregistry.hf_config.deployment import Deployment
from kregistry.target import GIB, MIB

# arg_groups/memory_hook.py: device memory in MiB below which chunked_prefill_size defaults to the second number.
_CHUNKED_PREFILL = ((20 * 1024, 2048), (60 * 1024, 4096), (160 * 1024, 8192))
_CHUNKED_PREFILL_ABOVE = 16384
# --max-prefill-tokens: bounds a step when prefill is not chunked.
_MAX_PREFILL_TOKENS = 16384
# SGLANG_OPT_DEEPGEMM_MEGA_MOE_NUM_MAX_TOKENS_PER_RANK.
_MEGA_TOKENS = 8192


@frozen
class SGLangSteps:
    """The sizes of the steps of one setting."""

    deployment: Deployment

    @property
    def chunk(self) -> int:
        """``chunked_prefill_size`` of one data-parallel rank; < 1 where prefill is not chunked."""
        given = self.deployment
        size = given.chunked_prefill
        if size is None:
            memory = given.target.memory_bytes // MIB
            size = next((chunk for limit, chunk in _CHUNKED_PREFILL if memory < limit), _CHUNKED_PREFILL_ABOVE)
        return size // given.dp if size >= 1 else size

    @property
    def warmed(self) -> int:
        """The last m of SGLang's own warm-up.

        Source: layers/deep_gemm_wrapper/compile_utils.py, update_deep_gemm_config.
        """
        if self.chunk < 1:
            return 65536
        return min(131072, 2 * self.chunk if self.chunk > 8192 else 16384)

    @property
    def tokens(self) -> int:
        """The largest number of tokens of a step on one data-parallel rank."""
        return self.chunk if self.chunk >= 1 else _MAX_PREFILL_TOKENS

    @property
    def mega_tokens(self) -> int:
        """The tokens that one rank's buffer of mega MoE is made for."""
        return self.deployment.max_dispatch_tokens or _MEGA_TOKENS

    @property
    def requests(self) -> tuple[int, str]:
        """The requests of a decode step, and the rule (arg_groups/memory_hook.py)."""
        given = self.deployment
        if given.max_requests is not None:
            return given.max_requests, "requests of a decode step, --max-requests"
        few = given.tp < 4 and given.target.memory_bytes < 160 * GIB
        return (256 if few else 512), "requests of a decode step, the default of --cuda-graph-max-bs-decode"
