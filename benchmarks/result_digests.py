"""Digests of the results of every value of every entry on a real GPU, with the compiler blocked.

    python benchmarks/result_digests.py --work DIR [--manifest FILE] [--model NAME]

DIR holds store and cache.

Every value is launched. Its results go into the digest; with --every N, those of each Nth value and of the last one.
Inputs are random with a fixed seed, and outputs are zero before a launch. Two runs must give the same digests if their
kernels are the same and deterministic. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from hardware import forbid_compiler, manifest_of
from measuring import ROOT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, default=ROOT / "kernels.yaml")
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--stop", type=int, help="cut every range at this value (for a trial)")
    parser.add_argument("--every", type=int, default=1, help="put the results of each Nth value into the digest")
    options = parser.parse_args()
    log = forbid_compiler(options.work)
    import kregistry

    registry = kregistry.Registry()
    manifest = manifest_of(options, registry)
    report = kregistry.warmup(
        manifest, registry=registry, store=options.work / "store", cache_dir=options.work / "cache"
    )
    report.raise_problems()
    entries = {str(entry): digest_of(entry, registry[entry.kernel_type], options.every) for entry in manifest.entries}
    compiles = len(log.read_text().splitlines()) if log.exists() else 0
    print(json.dumps({"kernels_loaded": len(report.loaded), "compile_attempts": compiles, "entries": entries}))


def digest_of(entry: Any, kernel_type: Any, every: int) -> dict[str, Any]:
    """Launch every value of a range; returns the digest of the outputs. Inputs are filled once, for the largest m."""
    import torch

    from kregistry.deep_gemm.settings import applied

    values = entry.range.values()
    buffers = kernel_type.allocate_buffers(entry.shape, values[-1])
    for output in kernel_type.outputs(buffers, values[-1]).values():
        output.zero_()
    kernel_type.fill(buffers, values[-1], torch.Generator("cuda").manual_seed(0))
    sums = []
    with applied(kernel_type, entry.shape):
        for m in values:
            kernel_type.execute(buffers, m)
            if m % every and m != values[-1]:
                continue
            sums += [checksum(output) for _, output in sorted(kernel_type.outputs(buffers, m).items())]
    numbers = torch.stack(sums).cpu()
    nonzero = int((numbers != 0).any(dim=1).sum())
    digest = hashlib.sha256(json.dumps(numbers.tolist()).encode()).hexdigest()
    del buffers
    torch.cuda.empty_cache()
    return {"values": len(values), "outputs": len(sums), "not_zero": nonzero, "sha256": digest}


def checksum(output: Any) -> Any:
    """Two sums of bit patterns, weighted by row and by column, so that a swap of two patterns changes them.

    A pattern is eight bytes if the row size is a multiple of eight bytes, and else one element.
    """
    import torch

    width = output.element_size() if output.shape[-1] * output.element_size() % 8 else 8
    bits = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[width]
    patterns = output.contiguous().view(bits)
    patterns = patterns.reshape(-1, patterns.shape[-1])
    rows, columns = patterns.sum(1, dtype=torch.int64), patterns.sum(0, dtype=torch.int64)
    return torch.stack([weighted(rows), weighted(columns)])


def weighted(sums: Any) -> Any:
    import torch

    return (sums * torch.arange(1, sums.numel() + 1, device=sums.device)).sum()


if __name__ == "__main__":
    main()
