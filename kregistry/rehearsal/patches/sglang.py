"""What SGLang reads from the device on the host, and what a rehearsal does not need."""

from __future__ import annotations

import importlib.util
from typing import Any

from kregistry.rehearsal.patches import patch, replace
from kregistry.rehearsal.replaced import count


@patch("sglang")
def sglang_scales() -> None:
    """Scales of the KV cache are read from the device, where they are zero, and must be positive."""
    from sglang.srt.layers.quantization.kv_cache import BaseKVCacheMethod

    def process(self: Any, layer: Any) -> None:
        layer.k_scale_float = layer.v_scale_float = 1.0

    replace(BaseKVCacheMethod, "process_weights_after_loading", process, parameters="self layer")


@patch("sglang")
def sglang_tilelang() -> None:
    """tilelang would compile kernels."""
    try:
        from sglang.kernels.ops.layernorm import mhc
    except ImportError:
        return

    class Fake:
        def jit(self, **options: Any) -> Any:
            return lambda function: _counted(function)

        def __getattr__(self, name: str) -> Any:
            return Fake()

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return Fake()

    def _counted(function: Any) -> Any:
        def build(*args: Any, **kwargs: Any) -> Any:
            count(f"tilelang {function.__name__}")
            return lambda *args, **kwargs: None

        return build

    replace(mhc, "_load_tilelang", lambda: Fake())
    replace(mhc, "_resolve_lazy_tilelang_value", lambda value: value)


@patch("sglang")
def sglang_dummy_weights() -> None:
    """Dummy weights are drawn at random, which needs memory beyond the weights."""
    from sglang.srt.model_loader import loader

    replace(loader, "initialize_dummy_weights", lambda model, *args, **kwargs: count("initialize_dummy_weights"))


@patch("sglang", ">0.5.16")
def sglang_dual_gemm() -> None:
    """A kernel for gate and up projections without blocks of scales needs cutlass, which need not be installed."""
    if importlib.util.find_spec("cutlass") is not None:
        return
    from sglang.srt.layers.dual_gemm import DualGemm

    replace(DualGemm, "_select_mode", lambda *args: None, parameters="self gate_up_proj hidden_size")
