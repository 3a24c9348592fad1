"""The state that all code of a process shares, as text: a launch, or any other method, must leave it as it is."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from kregistry.deep_gemm.known_settings import KNOWN


def process_state() -> dict[str, str]:
    """Name -> value as text: environment, random numbers, and the settings of Python, torch and DeepGEMM.

    torch must be importable. DeepGEMM's settings are read only if the process has imported it.
    """
    return dict(_state())


def changed_names(before: dict[str, str], after: dict[str, str]) -> tuple[str, ...]:
    """The names whose values differ, sorted."""
    return tuple(sorted(name for name in {**before, **after} if before.get(name) != after.get(name)))


def _state() -> Iterator[tuple[str, str]]:
    import torch

    for name, value in os.environ.items():
        yield f"the environment variable {name}", value
    yield "the current directory", str(Path.cwd())
    yield "sys.path", repr(sys.path)
    yield "gc.isenabled()", str(gc.isenabled())
    yield "gc.get_threshold()", str(gc.get_threshold())
    yield "sys.getswitchinterval()", str(sys.getswitchinterval())
    yield "sys.getrecursionlimit()", str(sys.getrecursionlimit())
    yield "the level of the root logger", str(logging.getLogger().level)
    for number in sorted(signal.valid_signals()):
        yield f"the handler of signal {int(number)}", repr(signal.getsignal(number))
    yield "the random numbers of Python", _digest(repr(random.getstate()).encode())
    yield "the random numbers of torch", _digest(bytes(torch.get_rng_state().tolist()))
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        yield "the random numbers of torch.cuda", _digest(bytes(torch.cuda.get_rng_state().tolist()))
        yield "the current device", str(torch.cuda.current_device())
        yield "the current stream", str(torch.cuda.current_stream().cuda_stream)
    for name, value in (
        ("torch.get_default_dtype()", torch.get_default_dtype()),
        ("torch.get_default_device()", torch.get_default_device()),
        ("torch.get_num_threads()", torch.get_num_threads()),
        ("torch.is_grad_enabled()", torch.is_grad_enabled()),
        ("torch.is_inference_mode_enabled()", torch.is_inference_mode_enabled()),
        ("torch.get_float32_matmul_precision()", torch.get_float32_matmul_precision()),
        ("torch.are_deterministic_algorithms_enabled()", torch.are_deterministic_algorithms_enabled()),
        ("torch.backends.cuda.matmul.allow_tf32", torch.backends.cuda.matmul.allow_tf32),
        ("torch.backends.cudnn.allow_tf32", torch.backends.cudnn.allow_tf32),
        ("torch.backends.cudnn.benchmark", torch.backends.cudnn.benchmark),
        ("torch.backends.cudnn.deterministic", torch.backends.cudnn.deterministic),
    ):
        yield name, str(value)
    deep_gemm = sys.modules.get("deep_gemm")
    for setting in KNOWN if deep_gemm is not None else ():
        if hasattr(deep_gemm, setting.get):
            yield f"deep_gemm.{setting.get}()", _read(deep_gemm, setting.get)


def _read(deep_gemm: object, getter: str) -> str:
    try:
        return str(getattr(deep_gemm, getter)())
    except RuntimeError:  # it needs a device
        return "unknown"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
