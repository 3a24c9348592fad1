"""One fault after another in kregistry's code inside SGLang, on the stub GPU: does SGLang go its own way?

SGLang is imported once. Each fault has a forked process, which loads the plugins, launches, configures the wrapper, and
calls what a model calls, before and after it is ready: DIRECTORY [NAME-OF-A-FAULT ...]; a line of JSON for each.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from bad_machines import MACHINES
from faults_in_engines import try_all

OWN = "kregistry.integrations"
#: Name of a fault -> the function that raises, or the module that cannot be imported.
FAULTS: dict[str, str] = {
    "nothing": "",
    "import of the hooks": f"module {OWN}.sglang.warmup_override",
    "import of the switches": f"module {OWN}.switches",
    "import of the phases": f"module {OWN}.phases",
    "import of the launch": f"module {OWN}.sglang.launching",
    "kernel types": "kregistry.registry.Registry.__init__",
    "hook registry": "sglang.srt.plugins.hook_registry.HookRegistry.register",
    "watch": f"{OWN}.first_calls.FirstCalls.watch",
    "store": "kregistry.store.store.Store.default",
    "request": f"{OWN}.sglang.server_arguments.request_of",
    "start folder": f"{OWN}.start_folder.StartFolder.create",
    "build process": f"{OWN}.build_ahead.start_build",
    "reading the request": f"{OWN}.start_folder.StartFolder.read_request",
    "thread": "threading.Thread.start",
    "wait": f"{OWN}.ahead.wait_for_build",
    "reading the manifest": "kregistry.manifest.load_manifest",
    "reading the plan": "kregistry.warm_up.prepared_plan.read_prepared",
    "signature of a group": f"{OWN}.sglang.warmup_override.read_compile",
    "signature of a context": f"{OWN}.sglang.warmup_override.execution_key",
    "signature of a call": f"{OWN}.first_calls.recognise",
    "coverage": "kregistry.serving.coverage.Coverage.covers",
    "plan and build": "kregistry.warm_up.prepare.prepare_warmup",
    "budget": "kregistry.warm_up.budget.MemoryBudget.limit",
    "launch": "kregistry.warm_up.warm_up.launch_prepared",
    "engine state": f"{OWN}.sglang.warmup_override.SglangWarmup.engine_state",
    "device": f"{OWN}.engine_warmup.detect_target",
    "record": f"{OWN}.missing_calls.remember",
    "ready": f"{OWN}.start_folder.StartFolder.is_ready",
    "names": f"{OWN}.watched_functions._replace_everywhere",
    "caches": f"{OWN}.watched_functions._clear_caches_of",
    "phases": f"{OWN}.phases.Phases._add",
    "log": "logging of kregistry",
}


def drive(directory: Path, engine: Any) -> None:
    """What SGLang does from the load of its plugins to live traffic."""
    import torch
    from sglang.srt.layers.deep_gemm_wrapper import compile_utils, entrypoint
    from sglang.srt.plugins import load_plugins

    load_plugins()
    (directory / "config.json").write_text('{"architectures": ["NoSuchModel"], "model_type": "nothing"}')
    engine._set_envs_and_config(SimpleNamespace(model_path=str(directory), tp_size=1))
    entrypoint.update_deep_gemm_config(0)
    compile_utils._BUILTIN_M_LIST = list(range(1, 17))

    def fp8(m: int, n: int = 512, k: int = 1024) -> None:
        e4m3 = torch.float8_e4m3fn
        a = torch.empty(m, k, dtype=e4m3, device="cuda"), torch.empty(m, k // 128, device="cuda")
        b = torch.empty(n, k, dtype=e4m3, device="cuda"), torch.empty(n // 128, k // 128, device="cuda")
        entrypoint.gemm_nt_f8f8bf16(a, b, torch.empty(m, n, dtype=torch.bfloat16, device="cuda"))

    def hc(m: int, splits: int, k: int = 1024) -> None:
        x = torch.empty(m, k, dtype=torch.bfloat16, device="cuda")
        out, s = torch.empty(splits, m, 24, device="cuda"), torch.empty(splits, m, device="cuda")
        entrypoint.tf32_hc_prenorm_gemm(x, torch.empty(24, k, device="cuda"), out, s, splits)

    for m in (7, 16, 1):
        fp8(m)
        hc(m, 3)
    start = os.environ.get("KREGISTRY_START")
    if start:
        Path(start, "ready").touch()
    fp8(16)
    hc(5, 3)


def main(directory: Path, names: list[str]) -> None:
    from sglang.srt.layers.deep_gemm_wrapper import compile_utils

    class Schedule:
        chunked_prefill_size = 64

    class Device:
        base_gpu_id = 0

    engine: Any = ModuleType("sglang.srt.entrypoints.engine")  # as far as the plugin needs it: its import takes long
    engine._set_envs_and_config = lambda server_args: None
    sys.modules[engine.__name__] = engine
    compile_utils.get_schedule, compile_utils.get_device = Schedule, Device
    try_all(FAULTS | {name: name for name in MACHINES}, lambda home: drive(home, engine), directory, names)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
