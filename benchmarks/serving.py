"""What serving pays on a real GPU: host time of calls, decode throughput, the JIT monitor, record, empty inputs.

    python benchmarks/serving.py calls   --work DIR    raw, sealed, and a context-manager hook as SGLang has one
    python benchmarks/serving.py decode  --work DIR    one DeepSeek-V4-Pro layer, m = 1, 8, 64, with and without graph
    python benchmarks/serving.py monitor --work DIR    unseen shapes in each mode, false alarms, overhead
    python benchmarks/serving.py record  --work DIR    record a script, build, warm up, run it again in mode error
    python benchmarks/serving.py empty   --work DIR    m = 0 of every kernel type in kernels.yaml
    python benchmarks/serving.py all     --work DIR    all of them, each in a process of its own

Each adds its numbers to DIR/serving.json and prints a short table. Host times are medians over rounds; in a round the
variants take turns. DIR keeps store and JIT cache.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = int(os.environ.get("KREGISTRY_BENCH_ROUNDS", "11"))
BATCHES, CALLS = 20, 100
#: Fewer calls than the device queues: a full queue would make the host wait.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS, "all", "overhead"])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--shapes", type=int, default=50, help="unseen shapes in modes warn and error")
    parser.add_argument("--count-shapes", type=int, default=10, help="unseen shapes in mode count")
    parser.add_argument("--warmed-calls", type=int, default=100_000)
    parser.add_argument("--monitored", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    os.environ["DG_JIT_CACHE_DIR"] = str(options.work / "cache")
    if options.part == "overhead":
        print(json.dumps(overhead(options)))
        return
    if options.part == "all":
        for part in PARTS:
            command = [sys.executable, "-W", "ignore", __file__, part, *sys.argv[2:]]
            if subprocess.run(command, check=False).returncode:
                print(f"{part}: FAILED")
        return
    from kregistry.toolchain import find_cuda_toolkit

    os.environ.setdefault("CUDA_HOME", str(find_cuda_toolkit().home))
    results_file = options.work / "serving.json"
    results: dict[str, Any] = json.loads(results_file.read_text()) if results_file.exists() else {}
    part = PARTS[options.part](options)
    results.setdefault("machine", machine())
    results[options.part] = part
    results_file.write_text(json.dumps(results, indent=1) + "\n")
    for name, value in part.items():
        print(f"{options.part:8} {name:44} {json.dumps(value)}")


def machine() -> dict[str, Any]:
    import deep_gemm
    import torch

    return {
        "card": torch.cuda.get_device_name(0),
        "cores": len(os.sched_getaffinity(0)),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "deep_gemm": getattr(deep_gemm, "__version__", "?"),
        "date": time.strftime("%Y-%m-%d"),
        "commit": os.environ.get("KREGISTRY_COMMIT", ""),
    }


# ---- variants of a call ----------------------------------------------------------------------------------------------


_WARMED: dict[tuple[str, int, int, int], bool] = {}


@contextmanager
def peer_hook(m: int, n: int, k: int, num_groups: int, kernel_type: str) -> Iterator[None]:
    """As SGLang 0.5.23 has it around every call (compile_utils.py, _deep_gemm_execution_hook), warm."""
    if m > 0:
        key = (kernel_type, n, k, num_groups)
        if _WARMED.get(key) is None:
            _WARMED[key] = True
    yield


def hooked_fp8(function: Callable[..., Any]) -> Callable[..., Any]:
    """As SGLang's entrypoint.gemm_nt_f8f8bf16."""

    def call(lhs: Any, rhs: Any, out: Any) -> None:
        m, k = lhs[0].shape
        n, _ = rhs[0].shape
        with peer_hook(m, n, k, 1, "fp8_gemm_nt"):
            function(lhs, rhs, out)

    return call


def hooked_hc(function: Callable[..., Any]) -> Callable[..., Any]:
    """As the change that routed tf32_hc_prenorm_gemm through the common wrapper had it."""

    def call(x: Any, fn: Any, out: Any, sqrsum: Any, num_splits: int | None = None) -> None:
        m, k = x.shape
        n, _ = fn.shape
        with peer_hook(m, n, k, 1 if num_splits is None else num_splits, "tf32_hc_prenorm_gemm"):
            function(x, fn, out, sqrsum, num_splits=num_splits)

    return call


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
    """Seconds a call, the median over batches; the device is idle when a batch begins."""
    import torch

    times = []
    for _ in range(BATCHES):
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(CALLS):
            variant()
        times.append((time.perf_counter() - started) / CALLS)
    return statistics.median(times)


def interleaved(variants: Mapping[str, Callable[[], object]], measure: Callable[..., float]) -> dict[str, float]:
    """Medians over rounds; each round begins with another variant."""
    names = list(variants)
    times: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        measure(variants[name])
    for number in range(ROUNDS):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(measure(variants[name]))
    return {name: statistics.median(each) for name, each in times.items()}


def against_raw(times: Mapping[str, float]) -> dict[str, Any]:
    raw = times["raw"]
    return {
        name: {"us": round(t * 1e6, 3), "more_us": round((t - raw) * 1e6, 3), "more_%": round((t / raw - 1) * 100, 2)}
        for name, t in times.items()
    }


def calls(options: argparse.Namespace) -> dict[str, Any]:
    import kregistry

    registry = kregistry.Registry()
    sealed = registry.seal()
    found: dict[str, Any] = {}
    sites = [("fp8_gemm_nt", {"n": 2112, "k": 7168})]
    sites += [("tf32_hc_prenorm_gemm", {"n": 24, "k": 28672, "num_splits": 16})]
    for name, shape in sites:
        for m in (1, 8, 64):
            site = Site(registry, sealed, name, shape, m)
            equal = site.bit_equal()
            times = against_raw(interleaved(site.variants, host_seconds))
            for variant, numbers in times.items():
                found[f"{name} m={m} {variant}"] = {**numbers, "bit_equal": equal}
    return found


# ---- decode ----------------------------------------------------------------------------------------------------------


LAYER = [
    ("tf32_hc_prenorm_gemm", {"n": 24, "k": 28672, "num_splits": "occupancy"}),
    ("fp8_gemm_nt", {"n": 2048, "k": 7168}),
    ("fp8_gemm_nt", {"n": 65536, "k": 1536}),
    ("fp8_gemm_nt", {"n": 7168, "k": 16384}),
    ("fp8_gemm_nt", {"n": 6144, "k": 7168}),
    ("fp8_gemm_nt", {"n": 7168, "k": 3072}),
]
LAYERS = 20


def decode(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds for 20 layers, device included; with a graph, of one replay that holds them."""
    import torch

    import kregistry

    registry = kregistry.Registry()
    sealed = registry.seal()
    found: dict[str, Any] = {}
    for m in (1, 8, 64):
        sites = [Site(registry, sealed, name, shape, m) for name, shape in LAYER]
        for graph in (False, True):
            variants: dict[str, Callable[[], object]] = {}
            for name in ("raw", "sealed", "sealed, looked up", "peer hook"):
                layer = [site.variants[name] for site in sites]
                loop = repeated(layer)
                loop()
                torch.cuda.synchronize()
                variants[name] = captured(loop) if graph else loop
            times = interleaved(variants, device_seconds)
            for name, numbers in against_raw(times).items():
                throughput = round((times["raw"] / times[name] - 1) * 100, 2)
                found[f"m={m} {'graph' if graph else 'eager'} {name}"] = {**numbers, "throughput_%": throughput}
    return found


def repeated(layer: list[Callable[[], object]]) -> Callable[[], None]:
    def loop() -> None:
        for _ in range(LAYERS):
            for call in layer:
                call()

    return loop


def captured(loop: Callable[[], None]) -> Callable[[], None]:
    import torch

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loop()
    replay: Callable[[], None] = graph.replay
    return replay


def device_seconds(loop: Callable[[], object]) -> float:
    import torch

    times = []
    for _ in range(BATCHES):
        torch.cuda.synchronize()
        started = time.perf_counter()
        loop()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


# ---- monitor ---------------------------------------------------------------------------------------------------------


def hc_call(splits: int, n: int = 24, m: int = 4, k: int = 1024) -> tuple[tuple[Any, ...], dict[str, Any]]:
    import torch

    a = torch.randn(m, k, dtype=torch.bfloat16, device="cuda")
    b = torch.randn(n, k, device="cuda")
    out = torch.empty(splits, m, n, device="cuda"), torch.empty(splits, m, device="cuda")
    return (a, b, *out), {"num_splits": splits}


def monitor(options: argparse.Namespace) -> dict[str, Any]:
    import shutil

    import kregistry
    from kregistry.jit_monitor import JitMonitor

    cache = options.work / "monitor-cache"
    shutil.rmtree(cache, ignore_errors=True)
    os.environ["DG_JIT_CACHE_DIR"] = str(cache)
    events: list[Any] = []

    class Listener:
        @kregistry.hookimpl
        def kregistry_jit_compiled(self, event: Any) -> None:
            events.append(event)

    registry = kregistry.Registry()
    registry.listen(Listener())
    watch = JitMonitor(registry, "warn", log=options.work / "jit.jsonl").start()
    import deep_gemm

    found: dict[str, Any] = {}
    plan = {"warn": (24, options.shapes), "error": (16, options.shapes), "count": (8, options.count_shapes)}
    for mode, (n, shapes) in plan.items():
        watch.mode = mode
        events.clear()
        seconds, refused, line = [], 0, 0
        for splits in range(1, shapes + 1):
            args, kwargs = hc_call(splits, n)
            started = time.perf_counter()
            try:
                line = sys._getframe().f_lineno + 1
                deep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)
            except Exception:
                refused += 1
            seconds.append(time.perf_counter() - started)
        settle(events, shapes)
        site = f"{__file__}:{line} in monitor"
        found[mode] = {
            "shapes": shapes,
            "seen": len(events),
            "site_right": sum(event.site == site for event in events),
            "call_right": sum(
                dict(event.shape) == {"n": n, "k": 1024, "num_splits": splits} and event.m == 4
                for splits, event in enumerate(sorted(events, key=lambda event: event.time), start=1)
            ),
            "refused": refused,
            "longest_ms": round(max(seconds) * 1e3, 1),
            "median_ms": round(statistics.median(seconds) * 1e3, 1),
        }
    watch.mode = "warn"
    events.clear()
    args, kwargs = hc_call(1)
    for _ in range(options.warmed_calls):
        deep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)
    watch.stop()
    found["false alarms"] = {"warmed_calls": options.warmed_calls, "alarms": len(events)}
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(10):
        monitored = number % 2 == 0
        command = [sys.executable, "-W", "ignore", __file__, "overhead", "--work", str(options.work)]
        run = subprocess.run([*command, *(["--monitored"] * monitored)], capture_output=True, text=True, check=True)
        times[monitored].append(json.loads(run.stdout.splitlines()[-1]))
    medians = {key: statistics.median(each) * 1e6 for key, each in times.items()}
    found["overhead"] = {
        "with_us": round(medians[True], 3),
        "without_us": round(medians[False], 3),
        "spread_without_us": round((max(times[False]) - min(times[False])) * 1e6, 3),
    }
    return found


def settle(events: list[Any], count: int) -> None:
    """Reports are taken by the monitor's thread, which may be a moment behind."""
    deadline = time.monotonic() + 2
    while len(events) < count and time.monotonic() < deadline:
        time.sleep(0.01)


def overhead(options: argparse.Namespace) -> float:
    """Seconds of a warm call in a fresh process, with or without a monitor."""
    from kregistry import Registry
    from kregistry.jit_monitor import JitMonitor
    from kregistry.toolchain import find_cuda_toolkit

    os.environ.setdefault("CUDA_HOME", str(find_cuda_toolkit().home))
    if options.monitored:
        JitMonitor(Registry(), "warn").start()
    import deep_gemm

    args, kwargs = hc_call(1)
    function = deep_gemm.tf32_hc_prenorm_gemm
    function(*args, **kwargs)
    return statistics.median(host_seconds(lambda: function(*args, **kwargs)) for _ in range(5))


# ---- record ----------------------------------------------------------------------------------------------------------


SCRIPT = """
import os, sys
if os.environ.get("MONITOR"):
    from kregistry import Registry
    from kregistry.jit_monitor import JitMonitor
    monitor = JitMonitor(Registry(), "error").start()
import deep_gemm, torch

def hc(m):
    splits = max(1, min(torch.cuda.get_device_properties(0).multi_processor_count // max(-(-m // 64), 1), 4))
    a, b = torch.randn(m, 1024, dtype=torch.bfloat16, device="cuda"), torch.randn(24, 1024, device="cuda")
    out = torch.empty(splits, m, 24, device="cuda"), torch.empty(splits, m, device="cuda")
    deep_gemm.tf32_hc_prenorm_gemm(a, b, *out, num_splits=splits)

def fp8(m, n=512, k=1024):
    a = torch.randn(m, k, device="cuda").to(torch.float8_e4m3fn), torch.ones(m, k // 128, device="cuda")
    b = torch.randn(n, k, device="cuda").to(torch.float8_e4m3fn), torch.ones(n // 128, k // 128, device="cuda")
    deep_gemm.fp8_gemm_nt(a, b, torch.empty(m, n, dtype=torch.bfloat16, device="cuda"))

for m in (1, 2, 7, 33, 64, 100):
    hc(m)
    fp8(m)
torch.cuda.synchronize()
if os.environ.get("MONITOR"):
    monitor.stop()
    print("COUNTS", dict(monitor.counts))
"""


def record(options: argparse.Namespace) -> dict[str, Any]:
    work = options.work / "record"
    work.mkdir(exist_ok=True)
    script, manifest, cache = work / "script.py", work / "recorded.yaml", work / "cache"
    script.write_text(SCRIPT)
    python = [sys.executable, "-W", "ignore"]
    kregistry = [*python, "-m", "kregistry"]
    places = ["--store", str(work / "store"), "--cache-dir", str(cache)]
    steps: dict[str, tuple[list[str], dict[str, str]]] = {
        "record": (
            [*kregistry, "record", "-o", str(manifest), "--", *python, str(script)],
            {"DG_JIT_CACHE_DIR": str(work / "first-cache")},
        ),
        "build": ([*kregistry, "build", str(manifest), "--target", "detect", *places], {}),
        "warmup": ([*kregistry, "warmup", str(manifest), *places], {"DG_JIT_CACHE_DIR": str(cache)}),
        "again in mode error": ([*python, str(script)], {"DG_JIT_CACHE_DIR": str(cache), "MONITOR": "1"}),
    }
    found: dict[str, Any] = {}
    for name, (command, extra) in steps.items():
        environment = {**os.environ, **extra}
        started = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        found[name] = {"exit": done.returncode, "seconds": round(time.perf_counter() - started, 1)}
        last = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-1:]
        found[name]["said"] = " ".join(last)[:200]
    found["manifest"] = manifest.read_text().splitlines() if manifest.exists() else []
    return found


# ---- empty inputs ----------------------------------------------------------------------------------------------------


def empty(options: argparse.Namespace) -> dict[str, Any]:
    """Every kernel type of kernels.yaml at run-time value 0: plain and sealed calls against the reference."""
    import torch

    import kregistry

    registry = kregistry.Registry()
    manifest = kregistry.load_manifest(ROOT / "kernels.yaml", registry, "detect")
    firsts = {entry.kernel_type: entry for entry in reversed(manifest.entries)}
    found: dict[str, Any] = {}
    for state in ("plain", "sealed"):
        if state == "sealed":
            registry.seal()
        for name, entry in sorted(firsts.items()):
            kernel_type = registry[name]
            try:
                buffers = kernel_type.allocate_buffers(entry.shape, entry.range.start)
                call = kernel_type.arguments(buffers, 0)
                kernel_type(*call.args, **call.kwargs)
                torch.cuda.synchronize()
                results, wanted = kernel_type.results(buffers, 0), kernel_type.reference(buffers, 0)
                same = all(
                    results[key].shape == value.shape and torch.equal(results[key].float(), value.float())
                    for key, value in wanted.items()
                )
                found[f"{name} {state}"] = "as the reference" if same else "DIFFERS"
            except Exception as error:
                found[f"{name} {state}"] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return found


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "calls": calls,
    "decode": decode,
    "monitor": monitor,
    "record": record,
    "empty": empty,
}

if __name__ == "__main__":
    main()
