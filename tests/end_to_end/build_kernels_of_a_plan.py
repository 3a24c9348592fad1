"""Compile the pickled kernels of a plan: a build without its planning, so that a kill meets the build.

python build_kernels_of_a_plan.py PICKLE STORE CACHE
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from kregistry.compile.pipeline import Pipeline
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.event_bus import EventBus
from kregistry.store import Store
from kregistry.toolchain import find_cuda_toolkit


def main(kernels: Path, store: Path, cache: Path) -> None:
    with Pipeline(EventBus(), Store(store), JitCache(cache), find_cuda_toolkit().nvcc, jobs=2) as pipeline:
        for kernel in pickle.loads(kernels.read_bytes()):
            pipeline.add(kernel)
        pipeline.finish()
    assert not pipeline.record.failed


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
