"""Seconds of `kregistry list`, and of a plan by number of child processes, with imports measured separately.

    python benchmarks/plan_speed.py [--model deepseek-v3] [--processes 1 2 4] [--stop 131072]

`first kernel` includes the imports of torch and DeepGEMM in the children. `sweeps` is the time from the first ready
child until the last entry is planned. `kregistry list` is the whole command in its own process: median and maximum of
several runs. The bound is 0.3 s. The CPU seconds are those of the children, with their imports: other programs change
them less than the wall-clock seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from attrs import evolve
from measuring import children_seconds

from kregistry import Registry, hookimpl, load_manifest
from kregistry.kernel import Kernel
from kregistry.machine import available_cores
from kregistry.plan.planner import make_plan
from kregistry.stub.library import default_stub_directory
from kregistry.stub.pool import check_stub
from kregistry.toolchain import find_toolchain

ROOT = Path(__file__).resolve().parent.parent


_LISTS = 9


class Clock:
    def __init__(self) -> None:
        self.first_kernel = 0.0

    @hookimpl
    def kregistry_kernel_planned(self, kernel: Kernel) -> None:
        self.first_kernel = self.first_kernel or time.perf_counter()


def list_seconds() -> dict[str, Any]:
    """The whole command ``kregistry list``, imports of Python and of all installed plugins included."""
    # As after an installation: Python keeps bytecode, which the first run has written.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds = []
    for _ in range(_LISTS + 1):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "kregistry", "list"], stdout=subprocess.DEVNULL, env=environment, check=True
        )
        seconds.append(time.perf_counter() - started)
    del seconds[0]
    return {
        "kernel_types": len(Registry().names()),
        "list_seconds_median": round(statistics.median(seconds), 3),
        "list_seconds_worst": round(max(seconds), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", default=None)
    parser.add_argument("--processes", type=int, nargs="*", default=[available_cores()])
    parser.add_argument("--stop", type=int, help="the end of all ranges")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = [list_seconds()]
    print(rows[0])
    for processes in options.processes:
        registry, clock = Registry(), Clock()
        registry.listen(clock)
        manifest = load_manifest(ROOT / "kernels.yaml", registry).select(options.model or ["deepseek-v3"])
        if options.stop is not None:
            ranges = [evolve(each.range, stop=options.stop) for each in manifest.entries]
            entries = tuple(evolve(each, range=longer) for each, longer in zip(manifest.entries, ranges))
            manifest = evolve(manifest, entries=entries)
        toolchain = find_toolchain()
        started = time.perf_counter()
        check_stub(toolchain, manifest.target, default_stub_directory())
        imports = time.perf_counter() - started
        started, before = time.perf_counter(), children_seconds()
        plan = make_plan(manifest, registry, toolchain=toolchain, processes=processes)
        total = time.perf_counter() - started
        rows.append(
            {
                "processes": processes,
                "entries": len(plan.entries),
                "calls": sum(len(planned.entry.range.values()) for planned in plan.entries),
                "kernels": len(plan.kernels),
                "import_seconds_alone": round(imports, 2),
                "first_kernel_seconds": round(clock.first_kernel - started, 2),
                "total_seconds": round(total, 2),
                "total_less_imports": round(total - imports, 2),
                "cpu_seconds_of_processes": round(children_seconds() - before, 1),
            }
        )
        print(rows[-1])
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
