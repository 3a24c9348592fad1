"""Two commits in turn on one machine with a GPU: planning, and a server's next start.

    python benchmarks/old_and_new.py --old CHECKOUT SITE --new CHECKOUT SITE --work DIR [--rounds 5]

SITE is a directory in which the commit is installed (`pip install --target SITE`), since entry points need metadata.
In each round both commits take turns, in alternating order: `plan_speed.py --processes 2`, and `hardware.py start`,
after one `hardware.py cold` and one `start` that plans. Prints medians, and writes DIR/old_and_new.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

FIGURES = {
    "planning": ("total_seconds", "total_less_imports", "first_kernel_seconds"),
    "start": ("wall_seconds", "launch_seconds"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, nargs=2, required=True, metavar=("CHECKOUT", "SITE"))
    parser.add_argument("--new", type=Path, nargs=2, required=True, metavar=("CHECKOUT", "SITE"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", default="deepseek-v3")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-gpu", action="store_true", help="planning only")
    parser.add_argument("--no-planning", action="store_true", help="starts only")
    options = parser.parse_args()
    commits = {"old": options.old, "new": options.new}
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {name: {figure: [] for figure in FIGURES} for name in commits}
    if not options.no_gpu:
        for name, (checkout, site) in commits.items():
            for part in ("cold", "start"):
                hardware(part, checkout, site, options.work / name, options.model)
    for number in range(options.rounds):
        for name in ("old", "new") if number % 2 == 0 else ("new", "old"):
            checkout, site = commits[name]
            if not options.no_planning:
                runs[name]["planning"].append(planning(checkout, site, options.work / name, options.model))
            if not options.no_gpu:
                runs[name]["start"].append(hardware("start", checkout, site, options.work / name, options.model))
        result = {"medians": medians(runs), "runs": runs}
        (options.work / "old_and_new.json").write_text(json.dumps(result, indent=1) + "\n")
    for figure, values in medians(runs).items():
        old, new = values["old"], values["new"]
        print(f"{figure:<32} old {old:8.3f}  new {new:8.3f}  ratio {new / old:.3f}")


def planning(checkout: Path, site: Path, work: Path, model: str) -> dict[str, Any]:
    work.mkdir(parents=True, exist_ok=True)
    file = work / "plan.json"
    run(checkout, site, "plan_speed.py", "--model", model, "--processes", "2", "--json", str(file))
    rows = json.loads(file.read_text())
    rows = rows if isinstance(rows, list) else rows["rows"]
    found: dict[str, Any] = next(row for row in rows if "calls" in row)
    return found


def hardware(part: str, checkout: Path, site: Path, work: Path, model: str) -> dict[str, Any]:
    run(checkout, site, "hardware.py", part, "--work", str(work), "--model", model)
    found: dict[str, Any] = json.loads((work / "hardware.json").read_text())[part]
    return found


def run(checkout: Path, site: Path, script: str, *arguments: str) -> None:
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-W", "ignore", str(checkout / "benchmarks" / script), *arguments]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, cwd="/", capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def medians(runs: dict[str, dict[str, list[dict[str, Any]]]]) -> dict[str, dict[str, float]]:
    return {
        f"{figure} {key}": {
            name: statistics.median(each[key] for each in parts[figure]) for name, parts in runs.items()
        }
        for figure, keys in FIGURES.items()
        for key in keys
        if runs["old"][figure] and runs["new"][figure]
    }


if __name__ == "__main__":
    main()
