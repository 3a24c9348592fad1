"""SGLang: if it is installed, kregistry replaces its DeepGEMM warm-up.

``KREGISTRY_SGLANG=0`` turns that off, ``KREGISTRY=0`` turns kregistry off in every engine.

:func:`register` is the entry point of the group ``sglang.srt.plugins``; SGLang calls it once in every process.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kregistry.integrations.sglang.warmup_override import SglangOverride

log = logging.getLogger("kregistry.integrations")

_COMPILE_UTILS = "sglang.srt.layers.deep_gemm_wrapper.compile_utils"
_ENTRYPOINT = "sglang.srt.layers.deep_gemm_wrapper.entrypoint"


def register() -> None:
    """Register kregistry's hooks with SGLang's HookRegistry. A failure is logged, and SGLang goes on without them.

    A process that has imported SGLang's DeepGEMM wrapper runs a model. Another one may launch the processes that do.
    """
    try:
        from kregistry.integrations.switches import enabled

        if enabled("KREGISTRY_SGLANG"):
            _register_what_this_process_needs()
        else:
            log.info("kregistry is off (KREGISTRY_SGLANG)")
    except (Exception, SystemExit):  # also of an import
        with suppress(Exception):
            log.exception("kregistry cannot register its hooks: SGLang runs without them")


def _register_what_this_process_needs() -> None:
    from kregistry.import_hook import after_import
    from kregistry.integrations.phases import PHASES
    from kregistry.integrations.sglang.launching import watch_the_launch

    with PHASES.phase("register"):
        watch_the_launch()
        if _COMPILE_UTILS in sys.modules:
            _register()
        else:
            after_import(_ENTRYPOINT, _come_late)


def _come_late(module: ModuleType) -> None:
    """Plugins were loaded before the wrapper of DeepGEMM. The hooks are made once this process configures a model."""
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    def configured(result: Any, *args: Any, **kwargs: Any) -> None:
        from kregistry.integrations.switches import failures_logged

        with failures_logged("kregistry cannot register its hooks: SGLang runs without them"):
            log.info("kregistry: SGLang loaded its plugins before its DeepGEMM wrapper: the hooks are registered now")
            override = _register()
            HookRegistry.apply_hooks()
            override.configured(result, *args, **kwargs)

    HookRegistry.register(f"{_ENTRYPOINT}.update_deep_gemm_config", configured, HookType.AFTER)
    HookRegistry.apply_hooks()


def _register() -> SglangOverride:
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    from kregistry.integrations.phases import PHASES

    with PHASES.phase("import of the hooks"):
        from kregistry.integrations.monitoring import start_monitor
        from kregistry.integrations.sglang.warmup_override import SglangOverride

    with PHASES.phase("kernel types"):
        override = SglangOverride(sys.modules[_COMPILE_UTILS])
    start_monitor(override.engine, override.first_calls.serves)
    around = HookType.AROUND
    HookRegistry.register(f"{_COMPILE_UTILS}._compile_deep_gemm_one_type_all", override.compile_one_type, around)
    HookRegistry.register(f"{_ENTRYPOINT}.update_deep_gemm_config", override.configured, HookType.AFTER)
    if "deep_gemm" in sys.modules:
        with PHASES.phase("watch of DeepGEMM's functions"):
            override.first_calls.watch(sys.modules["deep_gemm"])
    return override
