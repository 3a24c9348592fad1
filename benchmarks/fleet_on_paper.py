"""What a fleet costs, computed from sizes and seconds that were measured: requests, bytes, money, and a cold build.

    python benchmarks/fleet_on_paper.py [--ready benchmarks/results/DATE-fleet-ready.json]

It prints the tables of docs/fleet.md. A test compares them with the page.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
READY = RESULTS / "2026-11-30-fleet-ready.json"

#: Amazon S3 Standard, us-east-1, US dollars: https://aws.amazon.com/s3/pricing/ (as it was published in 2025).
GET_DOLLARS = 0.0004 / 1000
PUT_DOLLARS = 0.005 / 1000
STORED_DOLLARS = 0.023  # a GB and month
#: To the internet, the first 10 TB a month. Within one region it is free.
SENT_DOLLARS = 0.09
#: GET requests a second for one prefix, from where S3 answers 503 until it has divided the prefix:
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html
GETS_PER_SECOND = 5500
NODES = (10, 100, 1000, 10_000)
#: Requests of one node at once: kregistry.cli.remote_kernels.
AT_ONCE = 16
#: Seconds of one request to a bucket in the same region, a round figure and no measurement.
REQUEST_SECONDS = 0.03

#: The gallery: kernels of all its manifests on all their targets and both stacks, if none were the same (docs/sharing.md).
GALLERY_KERNELS = 17_400
#: CPU seconds of a kernel with a shared front end, and seconds that no number of cores makes shorter: docs/benchmarks.md.
CPU_SECONDS = 1.4
CHAIN_SECONDS = 7.6
CORES = (2, 16, 64, 160, 640)


def start_rows(kernels: int, objects: int, bundle: int) -> Iterator[Sequence[str]]:
    """1,000 nodes start at once with an empty store: one object for each kernel, or one bundle."""
    for nodes in NODES:
        for way, requests, size in (("objects", kernels, objects), ("bundle", 1, bundle)):
            total, sent = nodes * requests, nodes * size
            rate = nodes * min(AT_ONCE, requests) / REQUEST_SECONDS
            throttled = max(total / GETS_PER_SECOND, math.ceil(requests / AT_ONCE) * REQUEST_SECONDS)
            yield (
                f"{nodes:,}",
                way,
                f"{total:,}",
                human(sent),
                f"{rate:,.0f}/s",
                f"{throttled:.1f} s",
                f"${total * GET_DOLLARS:.4f}",
                f"${sent / 1e9 * SENT_DOLLARS:.2f}",
            )


def gallery_rows() -> Iterator[Sequence[str]]:
    """A cold build of the whole gallery."""
    for cores in CORES:
        seconds = GALLERY_KERNELS * CPU_SECONDS / cores + CHAIN_SECONDS
        yield f"{cores}", f"{seconds / 60:,.1f} min"


def human(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:,.0f} {unit}" if unit in ("B", "kB") else f"{size:,.1f} {unit}"
        size /= 1000
    raise AssertionError


def tables(measured: dict[str, Any]) -> str:
    """The tables, in Markdown."""
    kernels, sizes = measured["kernels"], measured["bytes"]
    lines = ["| nodes | by | GET requests | bytes | at first | at 5,500/s | requests | to the internet |"]
    lines.append("|" + "---:|---" + "|---:" * 6 + "|")
    lines += [f"| {' | '.join(row)} |" for row in start_rows(kernels, sizes["objects"], sizes["bundle"])]
    lines += ["", "| cores | the gallery, cold |", "|---:|---:|"]
    lines += [f"| {' | '.join(row)} |" for row in gallery_rows()]
    put, held = kernels * PUT_DOLLARS, sizes["objects"] / 1e9 * STORED_DOLLARS
    lines += ["", f"Filling the bucket with {kernels} kernels costs ${put:.4f}, and holding them ${held:.4f} a month."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ready", type=Path, default=READY, help="what `fleet.py ready` printed")
    print(tables(json.loads(parser.parse_args().ready.read_text())))


if __name__ == "__main__":
    main()
