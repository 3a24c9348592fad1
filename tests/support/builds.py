"""A build of some kernels by the real compiler, and all that was heard of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from events import EventLog

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.pipeline import Pipeline
from kregistry.compile.shared.sharing_options import SharingOptions
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.kernel import Kernel
from kregistry.registry import Registry
from kregistry.store import Store


class Build:
    """Builds with one store and one JIT cache; what was heard is of the last one."""

    def __init__(self, store: Store, nvcc: Path, tmp_path: Path) -> None:
        self.store, self.nvcc, self.jit_cache = store, nvcc, JitCache(tmp_path / "jit")
        self.log = EventLog()
        self.listeners: list[object] = [self.log]

    def run(self, *kernels: Kernel, options: SharingOptions | None = None, jobs: int = 2) -> BuildRecord:
        self.log.calls.clear()
        registry = Registry(load_entry_points=False)
        for listener in self.listeners:
            registry.listen(listener)
        with Pipeline(registry.events, self.store, self.jit_cache, self.nvcc, jobs, options) as pipeline:
            for kernel in kernels:
                pipeline.add(kernel)
            pipeline.finish()
        registry.events.flush()
        assert list((self.store.directory / "claims").iterdir()) == []
        assert list((self.store.directory / "tmp").iterdir()) == []
        return pipeline.record

    def heard(self, name: str) -> list[dict[str, Any]]:
        return [arguments for hook, arguments in self.log.calls if hook == name]
