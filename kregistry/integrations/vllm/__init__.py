"""vLLM: installed beside it, kregistry takes over its DeepGEMM warm-up.

``KREGISTRY_VLLM=0`` turns it off.

The entry point of the group ``vllm.general_plugins``; vLLM calls it in every process, perhaps more than once.
"""

from __future__ import annotations

import logging
import sys

log = logging.getLogger("kregistry.integrations")

_WARMUP = "vllm.model_executor.warmup.deep_gemm_warmup"
_KERNEL_WARMUP = "vllm.model_executor.warmup.kernel_warmup"


def register() -> None:
    """Have ``deep_gemm_warmup`` replaced, and DeepGEMM watched, once vLLM imports them; nothing is imported here."""
    from kregistry.integrations.engine_warmup import enabled, start_monitor
    from kregistry.integrations.import_hook import after_import

    if not enabled("KREGISTRY_VLLM"):
        log.info("kregistry is off (KREGISTRY_VLLM)")
        return
    if getattr(sys, "_kregistry_vllm", False):
        return
    sys._kregistry_vllm = True  # type: ignore[attr-defined]
    from kregistry.integrations.vllm.warmup_override import WarmupOverride

    takeover = WarmupOverride()
    start_monitor(takeover.engine)
    for deep_gemm in ("deep_gemm", "vllm.third_party.deep_gemm"):
        after_import(deep_gemm, takeover.first_calls.watch)
    after_import(_WARMUP, takeover.replace)
    after_import(_KERNEL_WARMUP, takeover.replace)
