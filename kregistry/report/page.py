"""The page of a report: one HTML file with its style, script and pictures inside. It loads nothing from anywhere.

Plain SVG and a script of our own: charting libraries of 50 kB and more draw none of the two pictures, which are bars on
an axis. Everything but hover and filter works without the script.
"""

from __future__ import annotations

import json
from collections import defaultdict
from html import escape
from importlib import resources
from typing import Any

from kregistry.kernel_type.display import human_bytes
from kregistry.report.kernel_colours import colours
from kregistry.report.kernel_facts import STATES, KernelFacts, varying_arguments
from kregistry.report.page_contents import PageContents
from kregistry.report.page_sections import sections


def page(contents: PageContents) -> str:
    """The page, as a text."""
    numbers = {id: number for number, id in enumerate(contents.facts)}
    return _PAGE.format(
        title=escape(f"{contents.title} for {contents.plan.target.name}"),
        style=_file("page.css") + colours(list(contents.facts.values())),
        body=sections(contents, numbers),
        data=json.dumps(_data(contents, numbers), separators=(",", ":")).replace("<", "\\u003c"),
        script=_file("page.js"),
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: kregistry report</title><link rel="icon" href="data:,">
<style>{style}</style></head>
<body>
{body}
<div id="tip" role="status" aria-live="polite" hidden></div>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body></html>
"""


def _file(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _data(contents: PageContents, numbers: dict[str, int]) -> dict[str, Any]:
    """What hover and filter need."""
    names = {each.kernel.name: list(each.values()) for each in contents.facts.values()}
    families = {name: number for number, name in enumerate(names)}
    by_family: dict[str, list[KernelFacts]] = defaultdict(list)
    for each in contents.facts.values():
        by_family[each.kernel.name].append(each)
    varying = {name: varying_arguments(found) for name, found in by_family.items()}
    return {
        "parameters": [names[family] for family in families],
        "varying": [[at for at, name in enumerate(names[family]) if name in varying[family]] for family in families],
        "kernels": [
            {
                "id": id,
                "state": STATES[each.state] + (f" ({each.tier})" if each.tier else ""),
                "size": human_bytes(each.nbytes) if each.nbytes else "unknown",
                "seconds": f"{each.seconds:.2f} s" if each.seconds else "unknown",
                "family": families[each.kernel.name],
                "arguments": list(each.values().values()),
            }
            for id, each in contents.facts.items()
        ],
        "entries": [
            {
                "name": planned.entry.label or planned.entry.kernel_type,
                "model": planned.entry.model,
                "m": planned.entry.range.name,
                "search": f"{planned.entry} {' '.join(planned.kernels())}".lower(),
                "segments": [
                    [segment.start, segment.stop, [numbers[kernel] for kernel in segment.kernels]]
                    for segment in planned.segments
                ],
            }
            for planned in contents.plan.entries
        ],
    }
