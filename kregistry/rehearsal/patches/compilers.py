"""Other JIT compilers: their kernels do nothing, and are counted."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, ClassVar

from kregistry.rehearsal.patches import patch, replace
from kregistry.rehearsal.replaced import Nothing, count


class _Compiled:
    """What Triton gives for a launch: a kernel without code."""

    n_regs = n_spills = 0
    metadata = packed_metadata = None
    asm: ClassVar[dict[str, str]] = {}

    def __getitem__(self, grid: object) -> Any:
        return lambda *args, **kwargs: None

    def _init_handles(self) -> None:
        pass


@patch("triton")
def triton_kernels() -> None:
    """Triton would compile kernels, which do nothing on the stub."""
    from triton.runtime import autotuner, jit

    def name(function: Any) -> str:
        inner = getattr(function, "fn", function)
        return name(inner) if inner is not function else str(getattr(function, "__name__", "?"))

    def run(self: Any, *args: Any, grid: Any = None, warmup: bool = False, **kwargs: Any) -> _Compiled:
        count(f"triton {name(self)}")
        return _Compiled()

    def run_autotuned(self: Any, *args: Any, **kwargs: Any) -> None:
        count(f"triton {name(self)}")

    replace(jit.JITFunction, "run", run, parameters="self args grid warmup kwargs")
    replace(autotuner.Autotuner, "run", run_autotuned, parameters="self args kwargs")


@patch("torch")
def torch_compile() -> None:
    """torch.compile would trace and compile the model."""
    import torch._dynamo

    torch._dynamo.config.disable = True


@patch("flashinfer-python")
def flashinfer_kernels() -> None:
    """FlashInfer would compile modules with nvcc, for minutes."""
    try:
        from flashinfer.jit import core
    except ImportError:
        return  # engines run without it

    def build_and_load(self: Any) -> Nothing:
        return CompiledModule(f"flashinfer {self.name}")

    replace(core.JitSpec, "build_and_load", build_and_load, parameters="self")


class CompiledModule(Nothing):
    """A module of FlashInfer or SGLang: the few functions that return something."""

    def __getattr__(self, name: str) -> Any:
        function = super().__getattr__(name)

        def answering(*args: Any, **kwargs: Any) -> Any:
            function(*args, **kwargs)
            return _answer(name, args)

        return answering


def _answer(name: str, args: tuple[Any, ...]) -> Any:
    import torch

    if name == "init":
        return CompiledModule("runner")
    if name == "get_workspace_size":
        return 0
    if name in ("get_tactic_num", "get_gemm1_tactic_count", "get_gemm2_tactic_count"):
        return 1
    if name == "get_max_active_clusters":
        return 16
    if name.startswith("plan_decode"):  # DeepSeek-V4's compressor
        return torch.empty(args[0].shape[0], 16, dtype=torch.uint8, device="cuda")
    if name.startswith("plan_prefill"):
        rows = max([each for each in args if isinstance(each, int)] + [1])
        return tuple(torch.empty(rows, 16, dtype=torch.uint8, device="cuda") for _ in range(2))
    return None


@patch("sglang", ">0.5.16")
def sglang_kernels() -> None:
    """SGLang would compile kernels of its own with nvcc."""
    from sglang.kernels.jit.utils.compile import loader

    _load_nothing(loader)


@patch("sglang", "<=0.5.16,>0.5.15.post1")
def sglang_kernels_16() -> None:
    """SGLang 0.5.16 would compile kernels of its own with nvcc."""
    from sglang.jit_kernel.utils import compile as loader

    _load_nothing(loader)


@patch("sglang", "<=0.5.15.post1")
def sglang_kernels_15() -> None:
    """SGLang 0.5.15 would compile kernels of its own with nvcc."""
    from sglang.jit_kernel import utils as loader

    _load_nothing(loader)


def _load_nothing(loader: ModuleType) -> None:
    """Replace ``load_jit`` of a module, and of those that have imported it by its name."""

    def load_jit(*args: Any, **kwargs: Any) -> CompiledModule:
        return CompiledModule("sglang " + "/".join(str(each) for each in args[:3]))

    replace(loader, "load_jit", load_jit)
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("sglang.") and "load_jit" in vars(module):
            vars(module)["load_jit"] = load_jit
