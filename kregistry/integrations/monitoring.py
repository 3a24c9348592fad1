"""The monitors of an engine's process: DeepGEMM's compiles, and those of other JIT compilers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kregistry.integrations.switches import failures_logged

if TYPE_CHECKING:
    from kregistry.integrations.engine_warmup import EngineWarmup
    from kregistry.integrations.first_calls import FirstCalls


def start_monitor(engine: EngineWarmup, first_calls: FirstCalls) -> None:
    """Start the JIT monitor in the mode of ``KREGISTRY_JIT_MONITOR`` (default ``off``); a failure is logged.

    Compiles of other JIT compilers are named too, once the engine serves requests.
    """
    mode = os.environ.get("KREGISTRY_JIT_MONITOR", "off")
    if mode == "off":
        return
    with failures_logged("kregistry cannot start the JIT monitor"):
        from kregistry.jit_monitor import JitMonitor

        # The engine loads its plugins before it needs a kernel, though often after it has imported deep_gemm.
        monitor = JitMonitor(engine.registry, mode, log=os.environ.get("KREGISTRY_JIT_LOG")).start(
            deep_gemm_unused=True
        )
        engine.monitored_by(monitor)
    with failures_logged("kregistry cannot watch other JIT compilers"):
        from kregistry.integrations.other_compilers import OtherCompilers

        OtherCompilers(
            lambda: first_calls.is_ready is not None and first_calls.is_ready(), warns=mode != "count"
        ).watch()
