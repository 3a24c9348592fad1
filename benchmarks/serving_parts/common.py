"""Code for several parts: a call site with its variants, and time measurement."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
#: The command that these parts belong to.
COMMAND = ROOT / "benchmarks" / "serving.py"
ROUNDS = int(os.environ.get("KREGISTRY_BENCH_ROUNDS", "420"))
#: Fewer calls than the device queue holds, so that the host never waits.
CALLS = 100

_WARMED: dict[tuple[str, int, int, int], bool] = {}


@contextmanager
def peer_hook(m: int, n: int, k: int, num_groups: int, kernel_type: str) -> Iterator[None]:
    """The hook of SGLang 0.5.23 around every call (compile_utils.py, _deep_gemm_execution_hook), when warm."""
    if m > 0:
        key = (kernel_type, n, k, num_groups)
        if _WARMED.get(key) is None:
            _WARMED[key] = True
    yield


def hooked_fp8(function: Callable[..., Any]) -> Callable[..., Any]:
    """Like entrypoint.gemm_nt_f8f8bf16 of SGLang."""

    def call(lhs: Any, rhs: Any, out: Any) -> None:
        m, k = lhs[0].shape
        n, _ = rhs[0].shape
        with peer_hook(m, n, k, 1, "fp8_gemm_nt"):
            function(lhs, rhs, out)

    return call


def hooked_hc(function: Callable[..., Any]) -> Callable[..., Any]:
    """Like the SGLang change that routed tf32_hc_prenorm_gemm through the common wrapper."""

    def call(x: Any, fn: Any, out: Any, sqrsum: Any, num_splits: int | None = None) -> None:
        m, k = x.shape
        n, _ = fn.shape
        with peer_hook(m, n, k, 1 if num_splits is None else num_splits, "tf32_hc_prenorm_gemm"):
            function(x, fn, out, sqrsum, num_splits=num_splits)

    return call


def build_ahead(registry: Any, sites: Sequence[tuple[str, Mapping[str, Any]]], stop: int) -> None:
    """Compile the kernels of the sites up to a run-time value, in parallel; DeepGEMM compiles one at a time."""
    import kregistry
    from kregistry.compile.plan_and_build import build_kernels
    from kregistry.manifest.model import Entry, Manifest, Range
    from kregistry.store import Store

    target = kregistry.detect_target()
    entries = [
        Entry("serving", name, registry[name].resolve(shape, target), Range("m", 1, stop, 1)) for name, shape in sites
    ]
    manifest = Manifest("serving", target, ("serving",), tuple(entries), {})
    build_kernels(manifest, registry, store=Store(Path(os.environ["DG_JIT_CACHE_DIR"]).parent / "store"))


class Site:
    """One call site with random inputs; ``variants`` are functions without arguments."""

    def __init__(self, registry: Any, sealed: Mapping[str, Any], name: str, shape: Mapping[str, Any], m: int) -> None:
        import torch

        import kregistry

        self.kernel_type = registry[name]
        self.m = m
        resolved = self.kernel_type.resolve(shape, kregistry.detect_target())
        self.buffers = self.kernel_type.allocate_buffers(resolved, m)
        self.kernel_type.fill(self.buffers, m, torch.Generator("cuda").manual_seed(1))
        call = self.kernel_type.arguments(self.buffers, m)
        args, kwargs = call.args, dict(call.kwargs)
        raw, kept, function = self.kernel_type.function(), self.kernel_type, sealed[name]
        hooked = (hooked_hc if "hc" in name else hooked_fp8)(raw)
        self.variants: dict[str, Callable[[], object]] = {
            "raw": lambda: raw(*args, **kwargs),
            "sealed": lambda: function(*args, **kwargs),
            "sealed kernel type": lambda: kept(*args, **kwargs),
            "sealed, looked up": lambda: registry[name](*args, **kwargs),
            "peer hook": lambda: hooked(*args, **kwargs),
        }

    def bit_equal(self) -> bool:
        import torch

        wanted: dict[str, Any] = {}
        for name, variant in self.variants.items():
            for output in self.kernel_type.outputs(self.buffers, self.m).values():
                output.fill_(float("nan"))
            variant()
            torch.cuda.synchronize()
            got = {key: value.clone() for key, value in self.kernel_type.outputs(self.buffers, self.m).items()}
            if name == "raw":
                wanted = got
            elif not all(torch.equal(got[key], wanted[key]) for key in wanted):
                return False
        return True


def host_seconds(variant: Callable[[], object]) -> float:
    """Seconds per call in one batch, which starts with an idle device."""
    import torch

    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(CALLS):
        variant()
    return (time.perf_counter() - started) / CALLS


def against_raw(
    variants: Mapping[str, Callable[[], object]],
    measure: Callable[[Callable[[], object]], float],
    rounds: int = ROUNDS,
) -> dict[str, dict[str, float]]:
    """Medians over rounds. A round measures each variant once; each round starts with a different variant.

    ``more_us`` and ``more_%`` are medians of the differences between a variant and the raw call of the same round, so
    that drift between rounds cancels out. ``raw again`` is a second raw call; its difference shows the noise.
    """
    variants = {**variants, "raw again": variants["raw"]}
    names = list(variants)
    times: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        measure(variants[name])
    gc.collect()
    gc.disable()
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(measure(variants[name]))
    gc.enable()
    raw = times["raw"]
    return {
        name: {
            "us": round(statistics.median(each) * 1e6, 3),
            "more_us": round(statistics.median(t - r for t, r in zip(each, raw)) * 1e6, 3),
            "more_%": round(statistics.median(t / r - 1 for t, r in zip(each, raw)) * 100, 2),
        }
        for name, each in times.items()
    }


def device_seconds(loop: Callable[[], object]) -> float:
    """Seconds of one loop, until the device has finished."""
    import torch

    torch.cuda.synchronize()
    started = time.perf_counter()
    loop()
    torch.cuda.synchronize()
    return time.perf_counter() - started
