"""Which patches an engine needs, in the order in which they are applied."""

from __future__ import annotations

from collections.abc import Mapping

from kregistry.rehearsal.patches import Patch, compilers, cutlass, deep_ep, downloads, ranks, sglang, vllm

#: The versions of the engines that the patches were tested with.
VERSIONS: Mapping[str, tuple[str, ...]] = {
    "sglang": ("0.5.15.post1", "0.5.16", "0.5.23"),
    "vllm": ("0.26.0", "0.33.0"),
}

_FIRST = (
    compilers.triton_kernels,
    compilers.torch_compile,
    compilers.flashinfer_kernels,
    downloads.flashinfer_downloads,
    ranks.process_groups,
)
#: Engine -> its patches, which are applied once it is imported.
PATCHES: Mapping[str, tuple[Patch, ...]] = {
    "sglang": (
        compilers.sglang_kernels,
        compilers.sglang_kernels_16,
        compilers.sglang_kernels_15,
        ranks.sglang_communicators,
        ranks.sglang_communicators_16,
        ranks.sglang_queues,
        ranks.sglang_attention_ranks,
        ranks.sglang_attention_ranks_16,
        ranks.sglang_attention_ranks_15,
        sglang.sglang_scales,
        sglang.sglang_tilelang,
        sglang.sglang_dummy_weights,
        sglang.sglang_dual_gemm,
    ),
    "vllm": (
        vllm.vllm_dummy_weights,
        vllm.vllm_queues,
        vllm.vllm_data_parallel,
        vllm.vllm_data_parallel_26,
    ),
}


def before_import(engine: str) -> tuple[Patch, ...]:
    """Patches of what the engine itself imports."""
    more = {"sglang": (cutlass.sglang_cutlass, deep_ep.deep_ep_buffers), "vllm": (cutlass.vllm_cutlass,)}
    return (*more[engine], *_FIRST)
