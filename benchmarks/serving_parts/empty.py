"""Every kernel type of kernels.yaml at run-time value 0: plain and sealed calls against the reference."""

from __future__ import annotations

import argparse
from typing import Any

from serving_parts.common import ROOT


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
            kregistry.Dispatch(registry).seal()
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
