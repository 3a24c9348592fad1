"""The pictures of a report, as SVG text: the map from m to kernels, and the timeline of a build."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from html import escape

from attrs import frozen

from kregistry.compile.build_log import BuildLog
from kregistry.events.jit import JitEvent
from kregistry.events.planned import PlannedEntry
from kregistry.report.critical_path import WaitedFor

#: Width of a picture, in its own units; the page scales it.
WIDTH = 1000
_ROW, _BAR = 22, 18
_TICKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)


@frozen
class Axis:
    """A logarithmic axis of m, from the smallest to the largest value of all entries."""

    low: int
    high: int

    @classmethod
    def of_entries(cls, entries: Iterable[PlannedEntry]) -> Axis:
        ranges = [planned.entry.range for planned in entries]
        return cls(min((each.start for each in ranges), default=1), max((each.stop for each in ranges), default=1))

    def x(self, m: int) -> float:
        """Where the values from ``m`` on begin."""
        low, high = math.log(max(self.low, 1)), math.log(max(self.high, 1) + 1)
        return WIDTH * (math.log(max(m, 1)) - low) / (high - low)

    def ticks(self) -> list[tuple[int, float]]:
        """(value, position in percent)."""
        return [(m, self.x(m) * 100 / WIDTH) for m in _TICKS if self.low <= m <= self.high]


def segment_map(
    planned: PlannedEntry,
    axis: Axis,
    numbers: Mapping[str, int],
    changed: Sequence[tuple[int, int]] = (),
    seen: Sequence[JitEvent] = (),
) -> str:
    """The bar of one entry. Each segment names its number and that of its last kernel, which decides its colour."""
    step = planned.entry.range.step
    parts: list[str] = []
    for index, segment in enumerate(planned.segments):
        x, end = axis.x(segment.start), axis.x(segment.stop + step)
        kernel = f"k{numbers[segment.kernels[-1]]}" if segment.kernels else "k"
        parts.append(f'<rect class="s {kernel}" data-s="{index}" x="{x:.1f}" width="{end - x:.1f}" height="{_BAR}"/>')
    for refusal in planned.refusals:
        x, end = axis.x(refusal.start), axis.x(refusal.stop + step)
        parts.append(f'<rect class="refused" x="{x:.1f}" width="{end - x:.1f}" height="{_BAR}"/>')
    for start, stop in changed:
        x, end = axis.x(start), axis.x(stop + step)
        parts.append(f'<rect class="changed" x="{x:.1f}" y="{_BAR}" width="{end - x:.1f}" height="3"/>')
    for event in seen:
        x = axis.x(event.m or 1)
        parts.append(f'<rect class="seen" x="{x - 1.5:.1f}" y="-2" width="3" height="{_BAR + 4}"/>')
    label = f"{planned.entry.label or planned.entry.kernel_type}: {len(planned.segments)} segments"
    return (
        f'<svg class="map" viewBox="0 -2 {WIDTH} {_ROW + 2}" preserveAspectRatio="none" role="img" tabindex="0" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def timeline(log: BuildLog, waits: Sequence[WaitedFor | None], critical: Set[int]) -> str:
    """Workers against time: a bar for each task, in the colour of its stage; those of the critical path are framed.

    Args:
        log: the build.
        waits: what each task waited for.
        critical: the indices of the tasks of the critical path.
    """
    workers = sorted({task.worker for task in log.tasks}, key=_worker_order)
    rows = {worker: row for row, worker in enumerate(workers)}
    scale = WIDTH / max(log.seconds, 0.001)
    parts: list[str] = []
    for index, task in enumerate(log.tasks):
        x = (task.started - log.started) * scale
        width = max((task.seconds or 0.0) * scale, 1.0)
        before = waits[index]
        waited = f"waited for {before.task.stage} {before.task.text}: {before.why}" if before else ""
        framed = " critical" if index in critical else ""
        text = f"{task.stage} {task.text}"
        if len(task.kernels) == 1:
            text = f"{task.stage} {task.kernels[0]}"
        elif task.kernels:
            text += f", {len(task.kernels)} kernels"
        parts.append(
            f'<rect class="t {escape(task.stage)}{framed}" x="{x:.1f}" y="{rows[task.worker] * _ROW}" '
            f'width="{width:.1f}" height="{_BAR}" data-t="{escape(text)}" '
            f'data-d="{task.seconds or 0:.2f} s from {task.started - log.started:.2f} s; {escape(waited)}"/>'
        )
    height = max(len(workers), 1) * _ROW
    names = "".join(f"<li>{escape(worker)}</li>" for worker in workers)
    return (
        f'<div class="lanes"><ul class="workers">{names}</ul><svg class="timeline" style="height:{height}px" '
        f'viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none" role="img" tabindex="0" '
        f'aria-label="timeline of {len(log.tasks)} tasks by {len(workers)} workers">{"".join(parts)}</svg></div>'
    )


def cpu_curve(log: BuildLog) -> str:
    """Cores in use against time; empty if there are no samples."""
    if len(log.cpu) < 2:
        return ""
    scale, height = WIDTH / max(log.seconds, 0.001), 60
    points = [(0.0, 0.0), *log.cpu, (log.cpu[-1][0], 0.0)]
    line = " ".join(f"{time * scale:.1f},{height - min(cores / log.cores, 1) * height:.1f}" for time, cores in points)
    mean = sum(cores for _, cores in log.cpu) / len(log.cpu)
    label = f"cores in use on the machine, {mean:.1f} of {log.cores} on average"
    return (
        f'<p class="caption">{label}</p><div class="lanes"><ul class="workers"><li>cores</li></ul>'
        f'<svg class="cpu" viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}"><polygon points="{line}"/></svg></div>'
    )


def _worker_order(worker: str) -> tuple[int, int, str]:
    name, _, number = worker.rpartition(" ")
    return (0 if name == "planner" else 1, int(number) if number.isdecimal() else 0, worker)
