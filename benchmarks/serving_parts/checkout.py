"""The calls of one process of `compare`, with the kregistry that this process imports."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from serving_parts import no_op
from serving_parts.calls import SITES
from serving_parts.common import CALLS, against_raw

#: Run-time values of each site.
VALUES = (1, 8, 64)


def checkout(options: argparse.Namespace) -> dict[str, Any]:
    """Host times of every site and variant, with a description of the machine."""
    import kregistry

    if not Path(kregistry.__file__).is_relative_to(options.new):
        sys.exit(f"kregistry was imported from {kregistry.__file__}, expected from {options.new}")
    if options.no_op:
        no_op.install()
    registry = kregistry.Registry(load_entry_points=False)  # a checkout on PYTHONPATH has no entry points
    for plugin in ("fp8_gemm", "hc_prenorm"):
        registry.register(importlib.import_module(f"kregistry_plugins.{plugin}"))
    machine = {
        **({"card": "no GPU, functions that do nothing"} if options.no_op else _device()),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }
    sealed = _seal(registry)
    if options.no_op:
        loops = {name: _loops(registry, sealed, name, call) for name, call in no_op.CALL.items()}
        return {
            "machine": machine,
            "sites": {name: against_raw(each, no_op.seconds, options.batches) for name, each in loops.items()},
        }
    sites = {}
    for name, shape in SITES:
        for m in VALUES:
            variants = _variants(registry, sealed, name, shape, m)
            sites[f"{name} m={m}"] = against_raw(variants, _seconds, options.batches)
    return {"machine": machine, "sites": sites}


def _device() -> dict[str, str]:
    from kregistry.toolchain import find_cuda_toolkit

    os.environ.setdefault("CUDA_HOME", str(find_cuda_toolkit().home))
    import deep_gemm
    import torch

    return {
        "card": torch.cuda.get_device_name(0),
        "torch": torch.__version__,
        "deep_gemm": getattr(deep_gemm, "__version__", "?"),
    }


def _seal(registry: Any) -> Mapping[str, Callable[..., Any]]:
    try:
        from kregistry.serving import Dispatch
    except ImportError:  # in old checkouts the registry itself seals
        found: Mapping[str, Callable[..., Any]] = registry.seal()
        return found
    return Dispatch(registry).seal()


def _variants(
    registry: Any, sealed: Mapping[str, Any], name: str, shape: Mapping[str, Any], m: int
) -> dict[str, Callable[[], object]]:
    import torch

    import kregistry

    kernel_type = registry[name]
    buffers = kernel_type.allocate_buffers(kernel_type.resolve(shape, kregistry.detect_target()), m)
    kernel_type.fill(buffers, m, torch.Generator("cuda").manual_seed(1))
    return _loops(registry, sealed, name, kernel_type.arguments(buffers, m))


def _loops(registry: Any, sealed: Mapping[str, Any], name: str, call: Any) -> dict[str, Callable[[], object]]:
    """Loops of :data:`CALLS` calls, each written out as an engine writes it."""
    kernel_type = registry[name]
    loop = _hc_loop if name == "tf32_hc_prenorm_gemm" else _fp8_loop
    raw = kernel_type.function()
    functions = {
        "raw": raw,
        "returned": sealed[name],  # the function that seal() has returned
        "kernel type": kernel_type,  # kept by the engine
        "closure guard": _closure_guard(raw, kernel_type.read_m, kernel_type.handle_empty),
    }
    variants = {variant: loop(call, function) for variant, function in functions.items()}
    return {**variants, "registry[name]": loop(call, None, registry, name)}


def _fp8_loop(call: Any, function: Any, registry: Any = None, name: str = "") -> Callable[[], None]:
    a, b, d = call.args

    def same() -> None:
        for _ in range(CALLS):
            function(a, b, d)

    def looked_up() -> None:
        for _ in range(CALLS):
            registry[name](a, b, d)

    return same if function is not None else looked_up


def _hc_loop(call: Any, function: Any, registry: Any = None, name: str = "") -> Callable[[], None]:
    a, b, d, sqr_sum = call.args
    splits = call.kwargs["num_splits"]

    def same() -> None:
        for _ in range(CALLS):
            function(a, b, d, sqr_sum, num_splits=splits)

    def looked_up() -> None:
        for _ in range(CALLS):
            registry[name](a, b, d, sqr_sum, num_splits=splits)

    return same if function is not None else looked_up


def _closure_guard(
    function: Callable[..., Any], read_m: Callable[..., int], handle_empty: Callable[..., Any]
) -> Callable[..., Any]:
    """The guard as a plain closure, for comparison with the generated guard."""

    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except RuntimeError:
            if read_m(*args, **kwargs):
                raise
        return handle_empty(*args, **kwargs)

    return guarded


def _seconds(loop: Callable[[], object]) -> float:
    """Seconds per call in one loop, which starts with an idle device."""
    import torch

    torch.cuda.synchronize()
    started = time.perf_counter()
    loop()
    return (time.perf_counter() - started) / CALLS
