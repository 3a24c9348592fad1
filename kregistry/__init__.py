"""A declarative kernel registry for DeepGEMM, driven by plugins.

Importing it imports neither torch nor deep_gemm, touches no device and creates no file.
"""

from __future__ import annotations

TYPE_CHECKING = False  # so that nothing is imported before :mod:`kregistry.__main__` has looked at the search path

if TYPE_CHECKING:
    from typing import Any

    from kregistry.compile.plan_and_build import build_kernels
    from kregistry.deep_gemm.known_settings import (
        BF16_GEMM_SETTINGS,
        BLOCK_SIZE_MULTIPLE_OF,
        DETERMINISTIC,
        IGNORE_COMPILE_DIMS,
        MK_ALIGNMENT,
        NUM_SMS,
        PDL,
        TC_UTIL,
    )
    from kregistry.deep_gemm.version import deep_gemm_version
    from kregistry.errors import KregistryError, ShapeError
    from kregistry.hookspecs import hookimpl
    from kregistry.kernel_type import (
        REQUIRED,
        ArchSupport,
        Arguments,
        Buffers,
        BufferSpec,
        Call,
        Choice,
        Dimension,
        EmptyInput,
        Flag,
        Gemm,
        KernelType,
        Proof,
        RunDimension,
        Setting,
        Shape,
        Signature,
        Size,
        Value,
    )
    from kregistry.manifest import Manifest, load_manifest
    from kregistry.plan import Plan
    from kregistry.plan.planner import make_plan
    from kregistry.registry import Registry
    from kregistry.serving import Dispatch
    from kregistry.target import TARGETS, Target, detect_target, get_target
    from kregistry.warm_up import warmup

_HOMES = {
    "ArchSupport": "kernel_type",
    "Arguments": "kernel_type",
    "BufferSpec": "kernel_type",
    "Buffers": "kernel_type",
    "Call": "kernel_type",
    "Choice": "kernel_type",
    "DETERMINISTIC": "deep_gemm.known_settings",
    "Dimension": "kernel_type",
    "Dispatch": "serving",
    "EmptyInput": "kernel_type",
    "Flag": "kernel_type",
    "Gemm": "kernel_type",
    "KernelType": "kernel_type",
    "KregistryError": "errors",
    "BF16_GEMM_SETTINGS": "deep_gemm.known_settings",
    "BLOCK_SIZE_MULTIPLE_OF": "deep_gemm.known_settings",
    "IGNORE_COMPILE_DIMS": "deep_gemm.known_settings",
    "PDL": "deep_gemm.known_settings",
    "TC_UTIL": "deep_gemm.known_settings",
    "MK_ALIGNMENT": "deep_gemm.known_settings",
    "Manifest": "manifest",
    "NUM_SMS": "deep_gemm.known_settings",
    "Plan": "plan",
    "Proof": "kernel_type",
    "REQUIRED": "kernel_type",
    "Registry": "registry",
    "RunDimension": "kernel_type",
    "Setting": "kernel_type",
    "Shape": "kernel_type",
    "ShapeError": "errors",
    "Signature": "kernel_type",
    "Size": "kernel_type",
    "TARGETS": "target",
    "Target": "target",
    "Value": "kernel_type",
    "build_kernels": "compile.plan_and_build",
    "deep_gemm_version": "deep_gemm.version",
    "detect_target": "target",
    "get_target": "target",
    "hookimpl": "hookspecs",
    "load_manifest": "manifest",
    "make_plan": "plan.planner",
    "warmup": "warm_up",
}

__all__ = [
    "BF16_GEMM_SETTINGS",
    "BLOCK_SIZE_MULTIPLE_OF",
    "DETERMINISTIC",
    "IGNORE_COMPILE_DIMS",
    "MK_ALIGNMENT",
    "NUM_SMS",
    "PDL",
    "REQUIRED",
    "TARGETS",
    "TC_UTIL",
    "ArchSupport",
    "Arguments",
    "BufferSpec",
    "Buffers",
    "Call",
    "Choice",
    "Dimension",
    "Dispatch",
    "EmptyInput",
    "Flag",
    "Gemm",
    "KernelType",
    "KregistryError",
    "Manifest",
    "Plan",
    "Proof",
    "Registry",
    "RunDimension",
    "Setting",
    "Shape",
    "ShapeError",
    "Signature",
    "Size",
    "Target",
    "Value",
    "build_kernels",
    "deep_gemm_version",
    "detect_target",
    "get_target",
    "hookimpl",
    "load_manifest",
    "make_plan",
    "warmup",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that ``import kregistry`` is fast."""
    if name == "__version__":
        from importlib.metadata import version

        return version("kregistry")
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"kregistry.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'kregistry' has no attribute {name!r}")
