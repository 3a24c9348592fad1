"""One fault after another in kregistry's code inside vLLM, on the stub GPU: does vLLM go its own way?

vLLM's worker is imported once. Each fault has a forked process, which loads the plugins, makes a model, ends the
warm-up, and calls what a model calls, before and after it is ready: DIRECTORY [NAME-OF-A-FAULT ...]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bad_machines import MACHINES
from faults_in_engines import try_all

OWN = "kregistry.integrations"
#: Name of a fault -> the function that raises, or the module that cannot be imported.
FAULTS: dict[str, str] = {
    "nothing": "",
    "import of the hooks": f"module {OWN}.vllm.warmup_override",
    "import of the switches": f"module {OWN}.switches",
    "import of the phases": f"module {OWN}.phases",
    "import of the monitor": f"module {OWN}.monitoring",
    "kernel types": "kregistry.registry.Registry.__init__",
    "store": "kregistry.store.store.Store.default",
    "watch": f"{OWN}.first_calls.FirstCalls.watch",
    "names": f"{OWN}.watched_functions._replace_everywhere",
    "hook of the load": f"{OWN}.vllm.warmup_override.VllmOverride.watch_the_load",
    "hook of the worker": f"{OWN}.vllm.warmup_override.VllmOverride.watch_the_worker",
    "hook of the warm-up": f"{OWN}.vllm.warmup_override.VllmOverride.replace",
    "DeepGEMM of vLLM": f"{OWN}.vllm.warmup_override.use_deep_gemm_of_vllm",
    "request": f"{OWN}.vllm.warmup_override.request_of",
    "start folder": f"{OWN}.start_folder.StartFolder.shared",
    "build process": f"{OWN}.vllm.warmup_override.start_build",
    "thread": "threading.Thread.start",
    "wait": f"{OWN}.ahead.wait_for_build",
    "reading the manifest": "kregistry.manifest.load_manifest",
    "reading the plan": "kregistry.warm_up.prepared_plan.read_prepared",
    "loading what was built": f"{OWN}.engine_warmup.EngineWarmup.load_what_was_built_ahead",
    "layers": f"{OWN}.vllm.warmup_override.layer_calls",
    "entries": f"{OWN}.engine_warmup.EngineWarmup.entry",
    "signature of a call": f"{OWN}.first_calls.recognise",
    "coverage": "kregistry.serving.coverage.Coverage.covers",
    "plan and build": "kregistry.warm_up.prepare.prepare_warmup",
    "budget": "kregistry.warm_up.budget.MemoryBudget.limit",
    "launch": "kregistry.warm_up.warm_up.launch_prepared",
    "engine state": f"{OWN}.vllm.warmup_override.VllmWarmup.engine_state",
    "device": f"{OWN}.engine_warmup.detect_target",
    "record": f"{OWN}.missing_calls.remember",
    "ready": f"{OWN}.vllm.warmup_override.VllmOverride._is_ready",
    "caches": f"{OWN}.watched_functions._clear_caches_of",
    "phases": f"{OWN}.phases.Phases._add",
    "log": "logging of kregistry",
}


def _model() -> Any:
    """Two linear layers, as far as vLLM's warm-up looks at them."""
    import torch
    from vllm.model_executor.kernels.linear.scaled_mm.deep_gemm import DeepGemmFp8BlockScaledMMKernel
    from vllm.utils import deep_gemm

    kernel: Any = DeepGemmFp8BlockScaledMMKernel
    kernel.get_deep_gemm_warmup_weights = lambda self, layer: (layer.weight, layer.weight_scale_inv)

    class Layer(torch.nn.Module):
        def __init__(self, n: int, k: int) -> None:
            super().__init__()
            weight = torch.empty(n, k, dtype=torch.float8_e4m3fn, device="cuda")
            self.weight = torch.nn.Parameter(weight, requires_grad=False)
            scales = torch.empty(n // 128, k // 128, device="cuda")
            self.weight_scale_inv = torch.nn.Parameter(scales, requires_grad=False)
            self.weight_block_size = deep_gemm.get_mk_alignment_for_contiguous_layout()
            self.deep_gemm_warmup_provider = kernel.__new__(kernel)

    return torch.nn.Sequential(Layer(512, 1024), Layer(512, 1024))


def drive(directory: Path) -> None:
    """What a worker of vLLM does, from the load of its plugins to live traffic."""
    import torch
    from vllm.model_executor.model_loader import base_loader
    from vllm.plugins import load_general_plugins
    from vllm.utils import deep_gemm as wrappers
    from vllm.v1.worker import gpu_worker

    os.getppid = os.getpid  # the start folder of this process is its own, not that of all faults
    load_general_plugins()
    (directory / "config.json").write_text('{"architectures": ["NoSuchModel"], "model_type": "nothing"}')
    parallel = SimpleNamespace(tensor_parallel_size=1, data_parallel_size=1, enable_expert_parallel=False)
    config: Any = SimpleNamespace(
        model_config=SimpleNamespace(model=str(directory), hf_overrides=None),
        parallel_config=parallel,
        scheduler_config=SimpleNamespace(max_num_batched_tokens=16),
    )
    model: Any = base_loader.initialize_model(vllm_config=config, model_config=None)

    def fp8(m: int) -> None:
        weight: Any = model[0]
        a = torch.empty(m, 1024, dtype=torch.float8_e4m3fn, device="cuda"), torch.empty(m, 8, device="cuda")
        out = torch.empty(m, 512, dtype=torch.bfloat16, device="cuda")
        wrappers.fp8_gemm_nt(a, (weight.weight, weight.weight_scale_inv), out)

    def hc(m: int, splits: int, k: int = 1024) -> None:
        x = torch.empty(m, k, dtype=torch.bfloat16, device="cuda")
        out, s = torch.empty(splits, m, 24, device="cuda"), torch.empty(splits, m, device="cuda")
        wrappers.tf32_hc_prenorm_gemm(x, torch.empty(24, k, device="cuda"), out, s, splits)

    fp8(7)  # kv_b_proj is called while weights are loaded
    worker: Any = SimpleNamespace(model=model, forward=lambda: [hc(m, 3) for m in (7, 16, 1)])
    gpu_worker.Worker.compile_or_warm_up_model(worker)
    fp8(16)
    hc(5, 3)


def main(directory: Path, names: list[str]) -> None:
    from vllm.model_executor.model_loader import base_loader
    from vllm.model_executor.warmup import deep_gemm_warmup, kernel_warmup
    from vllm.v1.worker import gpu_worker

    def warm_up(worker: Any) -> None:
        """As far as a worker's own function comes to DeepGEMM."""
        kernel_warmup.deep_gemm_warmup(worker.model, 16)
        worker.forward()

    loader: Any = base_loader
    loader.initialize_model = lambda **_: _model()
    worker_class: Any = gpu_worker.Worker
    worker_class.compile_or_warm_up_model = warm_up
    own: Any = deep_gemm_warmup
    own.is_global_first_rank = lambda: True  # no process group is there
    try_all(FAULTS | {name: name for name in MACHINES}, drive, directory, names)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
