"""What vLLM's layers do differently from version to version and from machine to machine, asked of its own code."""

from __future__ import annotations

import importlib
import inspect
import logging
from typing import Any

log = logging.getLogger("kregistry.integrations")

#: On Hopper vLLM's dynamic kernel passes calls with fewer rows to FlashInfer.
FLASHINFER_ROWS = 32


def psum_scales() -> tuple[str, ...]:
    """The forms of scale factors with which experts tell DeepGEMM where each group ends, not the group of each row.

    vLLM 0.33 does so on SM90 (float32), and on SM100 with packed UE8M0 scale factors; vLLM 0.26 does not, and vLLM's
    own warm-up neither.
    """
    try:
        module: Any = importlib.import_module("vllm.model_executor.layers.fused_moe.deep_gemm_utils")
        found = "use_psum_layout" in inspect.signature(module.deepgemm_moe_permute).parameters
    except Exception as error:  # the first call will show it
        log.info("kregistry: this vLLM has no deepgemm_moe_permute as expected: %s", error)
        return ()
    return _forms() if found else ()


def _forms() -> tuple[str, ...]:
    from vllm.platforms import current_platform

    if current_platform.is_device_capability_family(90):
        return ("f32",)
    return ("ue8m0",) if current_platform.is_device_capability_family(100) else ()


def first_rows() -> int:
    """The fewest rows with which a quantised linear layer calls DeepGEMM on Hopper."""
    try:
        module: Any = importlib.import_module("vllm.utils.flashinfer")
        return FLASHINFER_ROWS if module.is_flashinfer_fp8_blockscale_gemm_supported() else 1
    except Exception as error:
        log.info("kregistry: this vLLM does not say what it passes to FlashInfer: %s", error)
        return 1
