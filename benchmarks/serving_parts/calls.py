"""Host time of calls: raw, sealed, and in a context manager as in SGLang."""

from __future__ import annotations

import argparse
from typing import Any

from serving_parts.common import Site, against_raw, build_ahead, host_seconds

SITES: list[tuple[str, dict[str, Any]]] = [
    ("fp8_gemm_nt", {"n": 2112, "k": 7168}),
    ("tf32_hc_prenorm_gemm", {"n": 24, "k": 28672, "num_splits": 16}),
]


def calls(options: argparse.Namespace) -> dict[str, Any]:
    import kregistry

    registry = kregistry.Registry()
    build_ahead(registry, SITES, 64)
    sealed = kregistry.Dispatch(registry).seal()
    found: dict[str, Any] = {}
    for name, shape in SITES:
        for m in (1, 8, 64):
            site = Site(registry, sealed, name, shape, m)
            equal = site.bit_equal()
            times = against_raw(site.variants, host_seconds)
            for variant, numbers in times.items():
                found[f"{name} m={m} {variant}"] = {**numbers, "bit_equal": equal}
            found[f"{name} m={m} sealed"]["is_raw"] = sealed[name] is site.kernel_type.function()
    return found
