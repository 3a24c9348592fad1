"""Harm kregistry in every way that a server's operator would meet, and count what goes wrong: nothing should.

    python benchmarks/faults.py [PART ...] [--seed N] [--scale 1.0] [--json FILE]

Parts: kills, nvcc_kills, races, damages, disks, inputs, terminations, paths, outputs, results, transfers; default: all.
``--scale 0.05`` makes a twentieth of each. The seed is printed, and repeats the same run. Disks need the right to mount
a tmpfs. ``--json`` keeps what the file says of other parts, so that the parts can be run one by one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent))

from faults_parts.builds import damages, kills, nvcc_kills, races
from faults_parts.commands import paths, terminations
from faults_parts.common import Part, Tally, campaign
from faults_parts.disks import disks
from faults_parts.inputs import inputs
from faults_parts.results import outputs, results, transfers

PARTS: dict[str, Part] = {
    "kills": kills,
    "nvcc_kills": nvcc_kills,
    "races": races,
    "damages": damages,
    "disks": disks,
    "inputs": inputs,
    "terminations": terminations,
    "paths": paths,
    "outputs": outputs,
    "results": results,
    "transfers": transfers,
}
COUNTS = {
    "kills": 1000,
    "nvcc_kills": 50,
    "races": 64,
    "disks": 50,
    "nvcc_disks": 6,
    "plan_disks": 8,
    "inputs": 2000,
    "terminations": 100,
    "paths": 11,
    "outputs": 50,
    "transfers": 200,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    counts = {name: max(1, round(count * options.scale)) for name, count in COUNTS.items()}
    print(f"seed {options.seed}", flush=True)
    tallies = []
    with TemporaryDirectory(prefix="faults-") as directory, campaign(Path(directory), options.seed) as material:
        for name in options.parts or PARTS:
            tally, started = Tally(name), time.monotonic()
            PARTS[name](material, counts, tally)
            tally.seconds = round(time.monotonic() - started, 1)
            tallies.append(tally)
            show(tally)
    total = sum(len(tally.faults) for tally in tallies)
    print(f"{total} faults in {sum(tally.seconds for tally in tallies):.0f} s")
    if options.json:
        keep(options.json, tallies, options.seed)
    return 1 if total else 0


def keep(path: Path, tallies: list[Tally], seed: int) -> None:
    """Write results, beside those of other parts that the file has already."""
    kept = json.loads(path.read_text()) if path.exists() else {"parts": []}
    new = [
        {
            "part": each.part,
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "commit": subprocess.run(
                ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True
            ).stdout.strip(),
            "seed": seed,
            "counts": dict(each.counts),
            "longest": each.longest,
            "seconds": each.seconds,
            "faults": each.faults,
        }
        for each in tallies
    ]
    names = [each["part"] for each in new]
    parts = [each for each in kept["parts"] if each["part"] not in names] + new
    order = list(PARTS)
    machine = {"cpu": cpu_model(), "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    content = {**machine, "parts": sorted(parts, key=lambda each: order.index(each["part"]))}
    path.write_text(json.dumps(content, indent=1) + "\n")


def cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def show(tally: Tally) -> None:
    print(f"\n{tally.part}: {len(tally.faults)} faults, {tally.seconds} s")
    for name, number in (*tally.counts.items(), *tally.longest.items()):
        print(f"  {name:<44} {number}")
    for fault in tally.faults[:20]:
        print(f"  FAULT {fault}")
    if len(tally.faults) > 20:
        print(f"  and {len(tally.faults) - 20} more")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
