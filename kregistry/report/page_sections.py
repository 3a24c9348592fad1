"""The sections of the page of a report, as HTML; one that has nothing to show is empty."""

from __future__ import annotations

import time
from collections import defaultdict
from html import escape

from kregistry.errors import count_of
from kregistry.events.planned import PlannedEntry, span
from kregistry.events.tasks import STAGES
from kregistry.kernel_type.display import human_bytes
from kregistry.report.critical_path import critical_path, end, waited_for
from kregistry.report.html_parts import html_bar, html_items, html_table
from kregistry.report.kernel_facts import STATES, KernelFacts, varying_arguments
from kregistry.report.page_contents import PageContents
from kregistry.report.svg import Axis, cpu_curve, segment_map, timeline

_MAP_CAPTION = (
    "One bar for each entry of the manifest; m grows to the right on a logarithmic axis. A segment is an interval of m "
    "with the same kernels. The hue is the kernel family. In the light theme a darker segment has a larger tile, "
    "in the dark theme a lighter one. Hover, or focus a bar and use the arrow keys."
)


def sections(contents: PageContents, numbers: dict[str, int]) -> str:
    """The body of the page.

    Args:
        contents: what is reported.
        numbers: id of a kernel -> its number on the page.
    """
    made = [
        _head(contents),
        _map(contents, numbers),
        _build(contents),
        _sizes(contents),
        _memory(contents),
        _comparison(contents),
        _monitor(contents),
    ]
    return "\n".join(filter(None, made))


def _head(contents: PageContents) -> str:
    plan, log = contents.plan, contents.log
    ready, total = contents.ready, len(contents.facts)
    good = ready == total and not plan.problems()
    versions = plan.versions
    chips = [
        f"target {plan.target.name}: {plan.target.device_name}",
        f"{plan.target.num_sms} SMs",
        f"DeepGEMM {versions.deep_gemm}",
        f"torch {versions.torch}",
        f"nvcc {versions.nvcc}",
        count_of(len(plan.entries), "entry"),
    ]
    if plan.fingerprint:
        chips.append(f"plan {plan.fingerprint[:12]}")
    if log:
        chips.append(f"build {log.id}, {log.seconds:.1f} s, {log.jobs} jobs")
    chips += [f"{name}={value}" for name, value in contents.environment.items()]
    warnings = contents.warnings()
    shown = f'<ul class="warnings">{html_items(warnings)}</ul>' if warnings else ""
    links = [("map", "map"), ("build", "build"), ("sizes", "sizes"), ("memory", "memory")]
    links += [("differences", "differences")] if contents.comparison else []
    links += [("monitor", "monitor")] if contents.monitor else []
    nav = "".join(f'<a href="#{anchor}">{text}</a>' for anchor, text in links)
    return (
        f"<header><h1>kregistry: {escape(contents.title)}</h1>"
        f'<p class="verdict {"good" if good else "bad"}">{ready} of {total} kernels ready</p>'
        f'<ul class="chips">{html_items(chips)}</ul>{shown}<nav>{nav}</nav></header>'
    )


def _map(contents: PageContents, numbers: dict[str, int]) -> str:
    plan = contents.plan
    axis = Axis.of_entries(plan.entries)
    ticks = "".join(
        f'<span class="{"" if index % 4 == 0 else "minor"}" style="left:{percent:.2f}%">{m}</span>'
        for index, (m, percent) in enumerate(axis.ticks())
    )
    models = list(dict.fromkeys(planned.entry.model for planned in plan.entries))
    options = "".join(f"<option>{escape(model)}</option>" for model in models)
    parts = [
        f'<section id="map"><h2>Which m needs which kernel</h2><p class="caption">{_MAP_CAPTION}</p>',
        '<div class="tools" hidden><input id="filter" type="search" placeholder="filter: label, kernel type, n=7168, '
        'kernel …" aria-label="filter entries"><select id="model" aria-label="model"><option value="">all models'
        f'</option>{options}</select><span class="dim" id="count" role="status"></span></div>',
    ]
    rows: dict[str, list[str]] = defaultdict(list)
    for index, (planned, seen) in enumerate(zip(plan.entries, contents.seen())):
        changed = contents.comparison.changed.get(index, ()) if contents.comparison else ()
        rows[planned.entry.model].append(_entry_row(index, planned, segment_map(planned, axis, numbers, changed, seen)))
    for model in models:
        axis_row = f'<div class="row"><span></span><div class="axis">{ticks}</div><span></span></div>'
        parts.append(f"<div data-model><h3>{escape(model)}</h3>{axis_row}{''.join(rows[model])}</div>")
    parts.append(_segments_table(contents))
    return "".join(parts) + "</section>"


def _entry_row(index: int, planned: PlannedEntry, bar: str) -> str:
    entry = planned.entry
    kernels = count_of(len(planned.kernels()), "kernel") if planned.ok else "not planned in full"
    return (
        f'<div class="row" data-e="{index}"><div><b>{escape(entry.label or entry.kernel_type)}</b>'
        f"<small>{escape(entry.kernel_type)} {escape(str(entry.shape))}, {escape(str(entry.range))}</small></div>"
        f'{bar}<div class="n">{kernels}, {count_of(len(planned.segments), "segment")}</div></div>'
    )


def _segments_table(contents: PageContents) -> str:
    rows = [
        (
            planned.entry.label or planned.entry.kernel_type,
            f"{planned.entry.range.name} {span(segment.start, segment.stop)}",
            " ".join(segment.kernels) or "none",
        )
        for planned in contents.plan.entries
        for segment in planned.segments
    ]
    table = html_table(("entry", "m", "kernels"), rows, code=2)
    return f"<details><summary>the same as a table, {count_of(len(rows), 'segment')}</summary>{table}</details>"


def _build(contents: PageContents) -> str:
    log = contents.log
    if log is None:
        return (
            '<section id="build"><h2>The build</h2><p class="dim">No build of this plan has left a log.</p></section>'
        )
    tiers: dict[str, int] = defaultdict(int)
    for each in log.kernels.values():
        tiers[each.tier] += 1
    tier_words = ", ".join(f"{count} {tier}" for tier, count in sorted(tiers.items()))
    waits = waited_for(log.tasks)
    path = critical_path(log.tasks, waits)
    critical = [log.tasks[index] for index in path]
    legend = "".join(
        f'<li><svg class="key" viewBox="0 0 1 1" aria-hidden="true"><rect class="{stage}" width="1" height="1"/></svg>'
        f"{stage}: {count_of(len(found), 'task')}, {sum(task.seconds or 0 for task in found):.1f} s</li>"
        for stage in STAGES
        if (found := [task for task in log.tasks if task.stage == stage])
    )
    steps = []
    for index, task in zip(path, critical):
        before = waits[index]
        text = task.kernels[0] if len(task.kernels) == 1 else task.text
        steps.append(
            (
                f"{task.started - log.started:.2f}",
                f"{task.seconds or 0:.2f}",
                task.stage,
                text,
                before.why if before else "nothing",
            )
        )
    table = html_table((">at s", ">seconds", "stage", "what", "waited for"), steps)
    length = sum(task.seconds or 0 for task in critical)
    started = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(log.started))
    return (
        f'<section id="build"><h2>The build</h2><p class="caption">{started}, {log.seconds:.1f} s with '
        f"{count_of(log.jobs, 'job')} on {count_of(log.cores, 'core')}; kernels: {escape(tier_words)}; the plan was "
        f"{'used again' if log.reused else 'made'}. Time runs to the right; framed tasks are on the critical path.</p>"
        f'<ul class="legend">{legend}</ul>{timeline(log, waits, frozenset(path))}{cpu_curve(log)}'
        f"<details><summary>critical path: {count_of(len(critical), 'task')}, {length:.1f} of "
        f"{max((end(task) for task in log.tasks), default=log.started) - log.started:.1f} s</summary>{table}</details>"
        "</section>"
    )


def _sizes(contents: PageContents) -> str:
    families: dict[str, list[KernelFacts]] = defaultdict(list)
    for each in contents.facts.values():
        families[each.kernel.name].append(each)
    most = max((sum(each.nbytes for each in found) for found in families.values()), default=0)
    rows = []
    for name, found in sorted(families.items()):
        nbytes, seconds = sum(each.nbytes for each in found), sum(each.seconds for each in found)
        rows.append((name, str(len(found)), human_bytes(nbytes), f"{seconds:.1f}", html_bar(nbytes, most)))
    varying = {name: varying_arguments(found) for name, found in families.items()}
    kernels = [
        (
            id,
            human_bytes(each.nbytes) if each.nbytes else "",
            f"{each.seconds:.2f}" if each.seconds else "",
            STATES[each.state],
            " ".join(f"{name}={value}" for name, value in each.values().items() if name in varying[each.kernel.name]),
        )
        for id, each in contents.facts.items()
    ]
    columns = ("kernel", ">cubin", ">compiler s", "state", "template arguments that differ in the family")
    return (
        '<section id="sizes"><h2>Sizes and seconds by family</h2>'
        f"{html_table(('family', '>kernels', '>cubins', '>compiler s', 'share of bytes'), rows, html=4)}"
        f"<details><summary>every kernel</summary>{html_table(columns, kernels, code=4)}</details></section>"
    )


def _memory(contents: PageContents) -> str:
    memory = contents.plan.target.memory_bytes
    rows = [
        (
            f"{planned.entry.model}: {planned.entry.label or planned.entry.kernel_type}",
            human_bytes(planned.nbytes),
            f"{100 * planned.nbytes / memory:.2f} %" if memory else "",
            html_bar(planned.nbytes, contents.peak_bytes),
        )
        for planned in sorted(contents.plan.entries, key=lambda planned: -planned.nbytes)
    ]
    opened = " open" if len(rows) <= 12 else ""
    table = html_table(("entry", ">largest launch", ">of the device", "share of the peak"), rows, html=3)
    return (
        f'<section id="memory"><h2>Memory that a warm-up needs</h2><p class="caption">At most '
        f"{human_bytes(contents.peak_bytes)} at once, of {human_bytes(memory)} of {contents.plan.target.name}. "
        f"All of it is freed again.</p><details{opened}><summary>by entry</summary>{table}</details></section>"
    )


def _comparison(contents: PageContents) -> str:
    found = contents.comparison
    if found is None:
        return ""
    body = f"<ul>{html_items(found.lines)}</ul>" if found.lines else "<p>No difference.</p>"
    return (
        f'<section id="differences"><h2>Differences from {escape(found.name)}</h2><p class="caption">On the map, a '
        f"line below a bar marks intervals with other kernels than there.</p>{body}</section>"
    )


def _monitor(contents: PageContents) -> str:
    if contents.monitor is None:
        return ""
    name, events = contents.monitor
    rows = [
        (
            time.strftime("%H:%M:%S", time.gmtime(event.time)),
            event.kernel,
            f"{event.kernel_type} at {event.m}" if event.kernel_type else "not recognised",
            event.outcome.value,
            f"{event.seconds:.2f}",
            event.site,
        )
        for event in events
    ]
    table = html_table(("UTC", "kernel", "call", "outcome", ">seconds", "called from"), rows)
    return (
        f'<section id="monitor"><h2>What the JIT monitor saw</h2><p class="caption">{escape(name)}: '
        f"{count_of(len(events), 'event')}; those of an entry are marks on its bar.</p>"
        f"{table if rows else ''}</section>"
    )
