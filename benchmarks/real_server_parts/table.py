"""Results as a table: one row for each kind of arm, with medians over its starts."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

Result = dict[str, Any]
_LONG_PHASE = 0.2


def read(directory: Path) -> list[Result]:
    """The results in a directory and below, each once: the same line may have been copied. A line that was cut is left
    out.
    """
    found: dict[str, Result] = {}
    for path in sorted(directory.rglob("results.jsonl")):
        for line in path.read_text().splitlines():
            with suppress(ValueError):
                found.setdefault(line, json.loads(line))
    return list(found.values())


def summary(result: Result) -> str:
    """A result in a few lines, so that many fit on a page."""
    always = ("ready_s", "kernels_before", "kernels_at_ready", "compiled_live", "slowest", "bursts", "tracebacks")
    rare = ("cut", "error", "compiled_live_names", "killed_after_s", "ended_after_s", "kernels_then")
    shown = {name: result[name] for name in (*always, *rare) if name in result and (name in always or result[name])}
    lines = [f"{result['arm']}: {json.dumps(shown)}"]
    lines += [f"  a prompt that compiled: {each}" for each in result.get("prompts", ()) if "compiled" in each][:8]
    phases = [each for each in result.get("start", {}).get("phases", ()) if each["s"] >= _LONG_PHASE]
    if phases:
        words = (f"{each['at']:.1f} {each['phase']} {each['s']:.2f} ({each['cpu_s']:.2f})" for each in phases)
        lines.append(f"  phases (at, seconds, and on a core): {'; '.join(words)}")
    if "last_words" in result:
        lines += [f"  {each[:200]}" for each in (*result.get("kregistry", ())[-4:], *result["last_words"][-12:])]
    return "\n".join(lines)


def table(results: list[Result]) -> str:
    """A Markdown table."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    bases: dict[tuple[str, ...], list[Result]] = {}
    for each in results:
        arm = " ".join((each["arm"], *each.get("env", ())))
        model = f"{each['model']}, {each['layers']} layers, tp {each['tp']}"
        groups.setdefault((each["engine"], model, arm), []).append(each)
        if each["arm"] == "no-warm-up:warm":
            bases.setdefault((each["engine"], model), []).append(each)
    rows = [
        "| engine | model | arm | ready, s | after no-warm-up, s | kernels | compiled live | burst, s "
        "| burst to no-warm-up |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (engine, model, arm), found in groups.items():
        ready = _ready(found)
        no_warm_up = bases.get((engine, model), [])
        without = _ready(no_warm_up)
        later = f"{median(ready) - median(without):+.1f}" if ready and without else "-"
        shown = f"{median(ready):.1f} ({', '.join(f'{each:.1f}' for each in ready)})" if ready else "not ready"
        if any("killed_after_s" in each for each in found):
            shown = f"a rank killed; the rest ended after {found[-1].get('ended_after_s')} s"
        kernels = sorted({each.get("kernels_at_ready", 0) for each in found})
        live = sum(each.get("compiled_live", 0) for each in found)
        bursts = _bursts(found)
        base = _bursts(no_warm_up)
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
