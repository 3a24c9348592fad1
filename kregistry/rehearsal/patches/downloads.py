"""Kernels that FlashInfer downloads: TensorRT-LLM's, for Blackwell."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from kregistry.rehearsal.patches import patch, replace
from kregistry.rehearsal.patches.compilers import CompiledModule


class _Downloaded:
    """The description of a module of downloaded kernels."""

    def __init__(self, name: str) -> None:
        self.name = name

    def build_and_load(self) -> CompiledModule:
        return CompiledModule(f"flashinfer {self.name}")

    def get_library_path(self) -> str:
        return ""

    def get_library_paths(self) -> tuple[str, ...]:
        return ()


@patch("flashinfer-python")
def flashinfer_downloads() -> None:
    """FlashInfer would download TensorRT-LLM's kernels and their headers."""
    try:
        from flashinfer.jit import attention, core, cubin_loader, fused_moe, gemm
    except ImportError:
        return  # engines run without it, or with a release that has none
    for module in (attention, fused_moe, gemm):
        for name in [name for name in vars(module) if name.startswith("gen_trtllm_")]:
            _everywhere(module, name, _described(name.removeprefix("gen_").removesuffix("_module")))
    _everywhere(cubin_loader, "setup_cubin_loader", lambda path: None)
    for kind in (core.JitSpec, *core.JitSpec.__subclasses__()):
        if "get_library_paths" in vars(kind):
            replace(kind, "get_library_paths", lambda self: (), parameters="self")


def _described(name: str) -> Callable[..., _Downloaded]:
    return lambda *args, **kwargs: _Downloaded(name)


def _everywhere(owner: ModuleType, name: str, new: Any) -> None:
    """Replace a function in its module, and in those that have imported it by its name."""
    old = replace(owner, name, new)
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("flashinfer.") and vars(module).get(name) is old:
            vars(module)[name] = new
