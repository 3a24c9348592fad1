"""A plan that another process of the same start has just made and built, read without a second check."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kregistry.deep_gemm.environment import planned
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.deep_gemm.version import series_of
from kregistry.errors import KregistryError
from kregistry.manifest import Manifest
from kregistry.registry import Registry
from kregistry.toolchain import Toolchain, find_toolchain
from kregistry.warm_up.prepare import PreparedWarmup
from kregistry.warm_up.process import prepare_process
from kregistry.warm_up.warmup_plan import WarmupPlan


def surroundings(plan: WarmupPlan, jit_cache: JitCache, toolchain: Toolchain | None = None) -> dict[str, Any]:
    """What the processes of one start may see differently: versions, CUDA, DeepGEMM's variables and its JIT cache.

    They share the rest that a plan depends on: installed files, the manifest and the GPU.
    """
    toolchain = toolchain or find_toolchain()
    return {
        "versions": toolchain.versions.to_json(),
        "cuda_home": str(toolchain.cuda.home),
        "environment": planned(os.environ, series_of(toolchain.versions.deep_gemm)),
        "jit_cache": [str(directory) for directory in plan.directories(jit_cache)],
    }


def read_prepared(path: Path, made_in: dict[str, Any], manifest: Manifest, registry: Registry) -> PreparedWarmup | None:
    """The launches of a plan, as :func:`~kregistry.warm_up.prepare.prepare_warmup` would return them.

    Args:
        path: its file.
        made_in: the :func:`surroundings` of the process that has made it.

    Returns:
        ``None`` if this process differs from that one, or the file cannot be used.
    """
    try:
        toolchain = find_toolchain()
        prepare_process(toolchain)
        jit_cache = JitCache()
        plan = WarmupPlan.read(path, manifest)
        if made_in != surroundings(plan, jit_cache, toolchain):
            return None
    except KregistryError:
        return None
    return PreparedWarmup(registry.choosing(manifest.providers), manifest, plan, jit_cache, path, None)
