"""What a process needs before it warms up: a CUDA device, and the variables that DeepGEMM reads when it is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kregistry.deep_gemm.environment import DG_JIT_CACHE_DIR, check_environment
from kregistry.errors import MissingRequirement
from kregistry.toolchain import Toolchain, installed_series, torch_version


def require_device(build: str = "kregistry build") -> None:
    """Check that this process can warm up at all.

    Args:
        build: the command that works without a GPU, for the hint.

    Raises:
        MissingRequirement: torch is missing or has no CUDA, or there is no CUDA device.
    """
    torch_version()
    check_environment(os.environ, installed_series())  # names a variable before it asks for a GPU
    import torch

    if not torch.cuda.is_available():
        hint = f"{build} makes the kernels ready on a machine without a GPU"
        raise MissingRequirement("a warm-up loads kernels on a CUDA device, but torch finds none", hint)


def prepare_process(toolchain: Toolchain, cache_dir: str | Path | None = None) -> None:
    """Set the environment variables that DeepGEMM reads when it is imported.

    Raises:
        MissingRequirement: DeepGEMM has been imported with another cache directory.
    """
    if cache_dir is not None:
        wanted, current = str(cache_dir), os.environ.get(DG_JIT_CACHE_DIR)
        if "deep_gemm" in sys.modules and current != wanted:
            raise MissingRequirement(
                f"deep_gemm is already imported with {DG_JIT_CACHE_DIR}={current}, so it will not look in {wanted}",
                "warm up before deep_gemm is imported, or leave cache_dir out",
            )
        os.environ[DG_JIT_CACHE_DIR] = wanted
    os.environ.setdefault("CUDA_HOME", str(toolchain.cuda.home))
