"""In the process that launches SGLang: start the build before the schedulers, and say when the server is ready."""

from __future__ import annotations

import logging
import os
from types import ModuleType
from typing import Any

from kregistry.import_hook import after_import
from kregistry.integrations.phases import PHASES
from kregistry.integrations.start_folder import VARIABLE, Request, StartFolder
from kregistry.integrations.switches import failures_logged, switched_on
from kregistry.store import Store

log = logging.getLogger("kregistry.integrations")

_ENGINE = "sglang.srt.entrypoints.engine"
_HTTP_SERVER = "sglang.srt.entrypoints.http_server"
#: (module, function): called once with the ServerArgs, before the first scheduler is started.
LAUNCH = (_ENGINE, "_set_envs_and_config")
#: The same, called in a thread of its own; it returns when SGLang's warm-up request has been answered.
READY = (_HTTP_SERVER, "_wait_and_warmup")


def watch_the_launch() -> None:
    """Hook into the launch once SGLang imports it; a process that launches nothing never does."""
    after_import(LAUNCH[0], lambda module: _hook(module, LAUNCH, launching))
    after_import(READY[0], lambda module: _hook(module, READY, ready, before=warming_up))


def _hook(module: ModuleType, target: tuple[str, str], hook: Any, before: Any = None) -> None:
    if not hasattr(module, target[1]):
        log.info("kregistry: this SGLang has no %s.%s: nothing is built before its first call", *target)
        return
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    HookRegistry.register(".".join(target), hook, HookType.AFTER)
    if before is not None:
        HookRegistry.register(".".join(target), before, HookType.BEFORE)
    HookRegistry.apply_hooks()


def launching(result: Any, *args: Any, **kwargs: Any) -> None:
    """Start the build of the model's kernels; the schedulers inherit the name of its folder."""
    with failures_logged("kregistry builds nothing before the first call"), PHASES.phase("start of the build"):
        begin_build((*args, *kwargs.values()))


def begin_build(arguments: tuple[Any, ...]) -> StartFolder | None:
    """Start the build process for the ServerArgs among some arguments, unless SGLang's switches forbid a warm-up."""
    from kregistry.integrations.build_ahead import start_build
    from kregistry.integrations.sglang.server_arguments import build_environment, find_server_args, request_of

    if not switched_on("SGLANG_JIT_DEEPGEMM_PRECOMPILE") or not switched_on("SGLANG_ENABLE_JIT_DEEPGEMM"):
        return None
    server_args = find_server_args(arguments)
    if server_args is not None:
        request = request_of(server_args)
    elif os.environ.get("KREGISTRY_MANIFEST"):
        request = Request("sglang", "model", automatic=False)
    else:
        log.info("kregistry: this SGLang passes no ServerArgs: nothing is built before its first call")
        return None
    start = StartFolder.create(Store.default())
    PHASES.write_to(start.directory)
    start.write_request(request)
    start_build(start, build_environment())
    os.environ[VARIABLE] = str(start.directory)
    log.info("kregistry: building the kernels of %s while SGLang starts: %s", request.model, start.log)
    return start


def warming_up(*args: Any, **kwargs: Any) -> None:
    """Wait for the builds of this start before SGLang's warm-up request, whose calls load them.

    Until then SGLang does not say that it is ready, as with its own warm-up.
    """
    with failures_logged("kregistry does not wait for its build"), PHASES.phase("wait before the warm-up request"):
        from kregistry.integrations.build_ahead import SaysThatItWaits, wait_for_build

        start = StartFolder.of_environment()
        done: list[StartFolder] = []
        while start is not None and (left := [each for each in start.all_builds() if each not in done]):
            with SaysThatItWaits(f"the build of this model's kernels ({left[0].log})"):
                wait_for_build(left[0])
            done.append(left[0])


def ready(result: Any, *args: Any, **kwargs: Any) -> None:
    """Tell the schedulers that requests are served from now on."""
    with failures_logged("kregistry cannot say that the server is ready"):
        start = StartFolder.of_environment()
        if start is not None:
            start.mark_ready()
