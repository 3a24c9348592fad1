"""The copy of DeepGEMM in vLLM's wheel, made importable as ``deep_gemm``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def use_deep_gemm_of_vllm() -> None:
    """Make the DeepGEMM that vLLM uses importable as ``deep_gemm``.

    vLLM prefers an installed one. Without it, the copy in vLLM's wheel is found under the plain name by this process,
    vLLM included, and by the planning processes, so that only one copy is in use.
    """
    import vllm.utils.deep_gemm

    if importlib.util.find_spec("deep_gemm") is None:
        _use_vendored()
    vllm.utils.deep_gemm._lazy_init()  # it sets the JIT cache directory, unless it is set already


def _use_vendored() -> None:
    vendored = sys.modules.get("vllm.third_party.deep_gemm")
    if vendored is not None:
        sys.modules["deep_gemm"] = vendored
    import vllm.third_party

    place = str(Path(vllm.third_party.__path__[0]))
    if place not in sys.path:
        sys.path.append(place)
