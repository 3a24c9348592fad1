"""What a fleet costs, computed from sizes and seconds that were measured: requests, bytes, money, and a cold build.

    python benchmarks/fleet_on_paper.py [--ready benchmarks/results/DATE-fleet-ready.json]

It prints the tables of docs/fleet.md. A test compares them with the page.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
SPEED = RESULTS / "2026-11-29-shared-front-end.json"
PAGE = RESULTS.parent.parent / "docs" / "gallery.md"
READY = RESULTS / "2026-11-30-fleet-ready.json"

#: Amazon S3 Standard, us-east-1, US dollars, as https://aws.amazon.com/s3/pricing/ had them in 2025: look them up.
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
#: Seconds of one request: the guidelines of Amazon S3 speak of 0.1 to 0.2 s.
REQUEST_SECONDS = 0.1
#: A row of the gallery: the numbers of kernels of a manifest on h100, h200 and b200.
GALLERY = re.compile(r"^\| \S+\.yaml \|.*\| (\d+|-) \| (\d+|-) \| (\d+|-) \| [^|]+ \|$", re.MULTILINE)
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


def gallery_kernels(page: str) -> int:
    """Kernels of all manifests on all targets, if no two manifests had a kernel in common: an upper bound."""
    return sum(int(count) for row in GALLERY.findall(page) for count in row if count != "-")


def cpu_seconds(speed: dict[str, Any]) -> float:
    """CPU seconds of a kernel with shared front ends, with its part of planning, as measured on 16 cores."""
    rounds = [each["shared"] for each in speed["speed, h200 machine"][0]["rounds"]]
    return statistics.median(each["cpu_seconds"] / each["compiled"] for each in rounds)


def gallery_rows(kernels: int, seconds: float) -> Iterator[Sequence[str]]:
    """A cold build of the whole gallery."""
    for cores in CORES:
        yield f"{cores}", f"{kernels * seconds / cores / 60:,.1f} min"


def human(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:,.0f} {unit}" if unit in ("B", "kB") else f"{size:,.1f} {unit}"
        size /= 1000
    raise AssertionError


def tables(measured: dict[str, Any], speed: dict[str, Any], gallery: str) -> str:
    """The tables, in Markdown.

    Args:
        measured: what ``fleet.py ready`` printed.
        speed: the record of shared front ends.
        gallery: docs/gallery.md.
    """
    kernels, sizes = measured["kernels"], measured["bytes"]
    lines = ["| nodes | by | GET requests | bytes | at first | at 5,500/s | requests | to the internet |"]
    lines.append("|" + "---:|---" + "|---:" * 6 + "|")
    lines += [f"| {' | '.join(row)} |" for row in start_rows(kernels, sizes["objects"], sizes["bundle"])]
    lines += ["", "| cores | the gallery, cold |", "|---:|---:|"]
    total, seconds = gallery_kernels(gallery), cpu_seconds(speed)
    lines += [f"| {' | '.join(row)} |" for row in gallery_rows(total, seconds)]
    lines += ["", f"That is {total:,} kernels at {seconds:.2f} CPU seconds each."]
    put, held = kernels * PUT_DOLLARS, sizes["objects"] / 1e9 * STORED_DOLLARS
    lines += ["", f"Filling the bucket with {kernels} kernels costs ${put:.4f}, and holding them ${held:.4f} a month."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ready", type=Path, default=READY, help="what `fleet.py ready` printed")
    ready = json.loads(parser.parse_args().ready.read_text())
    print(tables(ready, json.loads(SPEED.read_text()), PAGE.read_text()))


if __name__ == "__main__":
    main()
