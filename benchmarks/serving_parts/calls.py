"""Host time of calls: raw, sealed, and behind a context-manager hook as SGLang has one."""

from __future__ import annotations

import argparse
from typing import Any

from serving_parts.common import Site, against_raw, host_seconds, interleaved


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
