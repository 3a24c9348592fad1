"""Compares two checkouts: the cost of calls through a sealed registry over DeepGEMM's own calls."""

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

from serving_parts.common import COMMAND

#: The allowed cost of a sealed call over the raw call; both bounds must hold.
BOUND_US, BOUND_PERCENT = 0.15, 0.5
#: Seconds after which a process counts as hung; the first one also compiles the kernels.
_LIMIT = 400


def compare(options: argparse.Namespace) -> None:
    """Start a new process of each checkout in each round, in alternating order; print a table, write compare.json."""
    if options.old is None or options.new is None:
        sys.exit("compare needs --old DIR and --new DIR, two checkouts of kregistry")
    checkouts = {"old": options.old.resolve(), "new": options.new.resolve()}
    for name, checkout in checkouts.items():
        if not (checkout / "kregistry" / "__init__.py").exists():
            sys.exit(f"--{name} {checkout}: no package kregistry there")
    commits = {name: _commit(each) or getattr(options, f"{name}_commit") for name, each in checkouts.items()}
    runs: dict[str, list[dict[str, Any]]] = {"old": [], "new": []}
    for number in range(options.rounds):
        for name in ("old", "new") if number % 2 == 0 else ("new", "old"):
            started = time.perf_counter()
            runs[name].append(_measure(name, checkouts[name], options))
            print(f"round {number + 1} of {options.rounds}, {name}: {time.perf_counter() - started:.0f} s", flush=True)
        result = {"date": time.strftime("%Y-%m-%d"), **commits, "batches": options.batches, **_summary(runs)}
        # After each round, so that an interrupted run has results.
        (options.work / "compare.json").write_text(json.dumps(result, indent=1) + "\n")
    _print(result)


def _measure(name: str, checkout: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Measure in one process that imports kregistry and its plugins from a checkout."""
    links = options.work / "links" / name
    links.mkdir(parents=True, exist_ok=True)
    plugins = links / "kregistry_plugins"
    plugins.unlink(missing_ok=True)
    plugins.symlink_to(checkout / "plugins")
    path = [str(links), str(checkout), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, "-W", "ignore", str(COMMAND), "checkout", "--work", str(options.work)]
    try:
        run = subprocess.run(
            [*command, "--batches", str(options.batches), "--new", str(checkout), *["--no-op"] * options.no_op],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
            capture_output=True,
            text=True,
            timeout=_LIMIT,
        )
    except subprocess.TimeoutExpired:
        sys.exit(f"{name} checkout {checkout}: no answer in {_LIMIT} s")
    if run.returncode:
        sys.exit(f"{name} checkout {checkout}: exit code {run.returncode}\n{(run.stdout + run.stderr)[-3000:]}")
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def _summary(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    first = runs["new"][0]
    return {
        "machine": first["machine"],
        "rounds": len(runs["new"]),
        "unit": "more_us, more_%: over the raw call of the same process; median (least, most) of the rounds",
        "sites": {
            site: {variant: _both(runs, site, variant) for variant in variants if variant != "raw"}
            for site, variants in first["sites"].items()
        },
    }


def _both(runs: dict[str, list[dict[str, Any]]], site: str, variant: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    more: dict[str, list[float]] = {}
    for name, each in runs.items():
        numbers = [run["sites"][site][variant] for run in each]
        more[name] = [number["more_us"] for number in numbers]
        found[name] = {
            "raw_us": round(statistics.median(run["sites"][site]["raw"]["us"] for run in each), 2),
            "more_us": round(statistics.median(more[name]), 3),
            "least_us": min(more[name]),
            "most_us": max(more[name]),
            "more_%": round(statistics.median(number["more_%"] for number in numbers), 2),
        }
    found["new_minus_old_us"] = round(statistics.median(n - o for n, o in zip(more["new"], more["old"])), 3)
    return found


def _commit(checkout: Path) -> str:
    """The commit of a checkout, with a plus sign if files are changed; empty if it is no repository of its own."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    if git("rev-parse", "--show-toplevel") != str(checkout):  # a plain folder inside another repository
        return ""
    return git("rev-parse", "--short", "HEAD") + "+" * bool(git("status", "--porcelain", "--untracked-files=no"))


def _print(result: dict[str, Any]) -> None:
    print(f"\n{result['old'] or 'old'} and {result['new'] or 'new'}, {result['machine']['card']}; us over the raw call")
    print(f"{'':32}{'raw us':>8}  {'variant':18}{'old':>8}{'new':>8}{'new %':>8}  {'new - old':>9}")
    for site, variants in result["sites"].items():
        for variant, found in variants.items():
            old, new = found["old"], found["new"]
            line = f"{site:32}{new['raw_us']:8.2f}  {variant:18}{old['more_us']:+8.3f}{new['more_us']:+8.3f}"
            print(f"{line}{new['more_%']:+8.2f}  {found['new_minus_old_us']:+9.3f}")
    for variant in next(iter(result["sites"].values())):
        numbers = [variants[variant]["new"] for variants in result["sites"].values()]
        kept = sum(each["more_us"] <= BOUND_US and each["more_%"] <= BOUND_PERCENT for each in numbers)
        print(f"{variant}: {kept} of {len(numbers)} sites within {BOUND_US} us and {BOUND_PERCENT} %")
