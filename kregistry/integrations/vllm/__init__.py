"""vLLM: if it is installed, kregistry replaces its DeepGEMM warm-up.

``KREGISTRY_VLLM=0`` turns that off.

:func:`register` is the entry point of the group ``vllm.general_plugins``; vLLM calls it in every process, perhaps more
than once.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

log = logging.getLogger("kregistry.integrations")

_WARMUP = "vllm.model_executor.warmup.deep_gemm_warmup"
_LOADER = "vllm.model_executor.model_loader.base_loader"
_WORKER = "vllm.v1.worker.gpu_worker"
_KERNEL_WARMUP = "vllm.model_executor.warmup.kernel_warmup"


def register() -> None:
    """Prepare to replace ``deep_gemm_warmup`` and to watch DeepGEMM, once vLLM imports them; vLLM is not imported here.

    A failure is logged, and vLLM goes on without kregistry.
    """
    try:
        from kregistry.integrations.switches import enabled

        if not enabled("KREGISTRY_VLLM"):
            log.info("kregistry is off (KREGISTRY_VLLM)")
        elif not getattr(sys, "_kregistry_vllm", False):
            sys._kregistry_vllm = True  # type: ignore[attr-defined]
            _register()
    except (Exception, SystemExit):  # also of an import; vLLM itself would end
        with suppress(Exception):
            log.exception("kregistry cannot register its hooks: vLLM runs without them")


def _register() -> None:
    from kregistry.import_hook import after_import
    from kregistry.integrations.monitoring import start_monitor
    from kregistry.integrations.phases import PHASES
    from kregistry.integrations.vllm.warmup_override import VllmOverride

    with PHASES.phase("register"):
        override = VllmOverride()
    start_monitor(override.engine, override.first_calls.serves)
    for deep_gemm in ("deep_gemm", "vllm.third_party.deep_gemm"):
        after_import(deep_gemm, override.first_calls.watch)
    after_import(_LOADER, override.watch_the_load)
    after_import(_WORKER, override.watch_the_worker)
    after_import(_WARMUP, override.replace)
    after_import(_KERNEL_WARMUP, override.replace)
