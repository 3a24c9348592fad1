"""The monitors of an engine's process: DeepGEMM's compiles, and those of other JIT compilers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from kregistry.integrations.switches import failures_logged

if TYPE_CHECKING:
    from kregistry.integrations.engine_warmup import EngineWarmup


def start_monitor(engine: EngineWarmup, serves: Callable[[], bool] = lambda: False) -> None:
    """Start the JIT monitor in the mode of ``KREGISTRY_JIT_MONITOR`` (default ``off``); a failure is logged.

    Args:
        serves: whether the engine serves requests; from then on compiles of other JIT compilers are named too.
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

        OtherCompilers(serves, warns=mode != "count").watch()
