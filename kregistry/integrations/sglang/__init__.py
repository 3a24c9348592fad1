"""SGLang: installed beside it, kregistry takes over its DeepGEMM warm-up.

``KREGISTRY_SGLANG=0`` turns it off.

The entry point of the group ``sglang.srt.plugins``; SGLang calls it once in every process.
"""

from __future__ import annotations

import logging
import sys

log = logging.getLogger("kregistry.integrations")

_COMPILE_UTILS = "sglang.srt.layers.deep_gemm_wrapper.compile_utils"
_ENTRYPOINT = "sglang.srt.layers.deep_gemm_wrapper.entrypoint"


def register() -> None:
    """Register kregistry's hooks with SGLang's HookRegistry.

    A process that has not imported SGLang's DeepGEMM wrapper by now runs no model: nothing is imported there.
    """
    from kregistry.integrations.engine_warmup import enabled, start_monitor

    if not enabled("KREGISTRY_SGLANG"):
        log.info("kregistry is off (KREGISTRY_SGLANG)")
        return
    if _COMPILE_UTILS not in sys.modules:
        return
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    from kregistry.integrations.sglang.warmup_override import WarmupOverride

    takeover = WarmupOverride(sys.modules[_COMPILE_UTILS])
    start_monitor(takeover.engine)
    around = HookType.AROUND
    HookRegistry.register(f"{_COMPILE_UTILS}._compile_deep_gemm_one_type_all", takeover.compile_one_type, around)
    HookRegistry.register(f"{_ENTRYPOINT}.update_deep_gemm_config", takeover.configured, HookType.AFTER)
    if "deep_gemm" in sys.modules:
        takeover.first_calls.watch(sys.modules["deep_gemm"])
