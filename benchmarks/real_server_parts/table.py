"""Results as a table: one row for each kind of arm, with medians over its starts."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

Result = dict[str, Any]


def read(path: Path) -> list[Result]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(results: list[Result]) -> str:
    """A Markdown table."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for each in results:
        key = (each["engine"], f"{each['model']}, {each['layers']} layers, tp {each['tp']}", each["arm"])
        groups.setdefault(key, []).append(each)
    rows = [
        "| engine | model | arm | ready, s | after no-warm-up, s | kernels | compiled live | burst, s "
        "| burst to no-warm-up |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (engine, model, arm), found in groups.items():
        ready = _ready(found)
        without = _ready(groups.get((engine, model, "no-warm-up:warm"), []))
        later = f"{median(ready) - median(without):+.1f}" if ready and without else "-"
        shown = f"{median(ready):.1f} ({', '.join(f'{each:.1f}' for each in ready)})" if ready else "not ready"
        if any("killed_after_s" in each for each in found):
            shown = f"a rank killed; the rest ended after {found[-1].get('ended_after_s')} s"
        kernels = sorted({each.get("kernels_at_ready", 0) for each in found})
        live = sum(each.get("compiled_live", 0) for each in found)
        bursts = _bursts(found)
        base = _bursts(groups.get((engine, model, "no-warm-up:warm"), []))
        ratio = interval(bursts, base) if bursts and base and not arm.startswith("no-warm-up") else "-"
        burst = f"{median(bursts):.3f} of {len(bursts)}" if bursts else "-"
        rows.append(
            f"| {engine} | {model} | {arm} | {shown} | {later} | {', '.join(map(str, kernels))} | {live} | {burst} "
            f"| {ratio} |"
        )
    return "\n".join(rows)


def _ready(results: Sequence[Result]) -> list[float]:
    return [each["ready_s"] for each in results if each.get("ready_s") is not None]


def _bursts(results: Sequence[Result]) -> list[float]:
    """All bursts of some arms, without the first of each start."""
    return [seconds for each in results for seconds in each.get("bursts", [])[1:]]


def interval(ours: Sequence[float], base: Sequence[float], samples: int = 4000) -> str:
    """The ratio of two medians with its 95 % interval (bootstrap)."""
    rng = random.Random(0)
    ratios = sorted(
        median(rng.choices(ours, k=len(ours))) / median(rng.choices(base, k=len(base))) for _ in range(samples)
    )
    low, high = ratios[int(samples * 0.025)], ratios[int(samples * 0.975)]
    return f"{median(ours) / median(base):.4f} ({low:.4f} to {high:.4f})"
