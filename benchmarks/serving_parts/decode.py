"""Throughput of a decode loop over one DeepSeek-V4-Pro layer, with and without CUDA graph."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from serving_parts.common import Site, against_raw, build_ahead, device_seconds

LAYER: list[tuple[str, dict[str, Any]]] = [
    ("tf32_hc_prenorm_gemm", {"n": 24, "k": 28672, "num_splits": "occupancy"}),
    ("fp8_gemm_nt", {"n": 2048, "k": 7168}),
    ("fp8_gemm_nt", {"n": 65536, "k": 1536}),
    ("fp8_gemm_nt", {"n": 7168, "k": 16384}),
    ("fp8_gemm_nt", {"n": 6144, "k": 7168}),
    ("fp8_gemm_nt", {"n": 7168, "k": 3072}),
]
LAYERS = 20


def decode(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds for 20 layers, including the device; with a graph, for one replay of all of them."""
    import torch

    import kregistry

    registry = kregistry.Registry()
    build_ahead(registry, LAYER, 64)
    sealed = kregistry.Dispatch(registry).seal()
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
            for name, numbers in against_raw(variants, device_seconds).items():
                throughput = round((1 / (1 + numbers["more_%"] / 100) - 1) * 100, 2)
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
