"""The page, as text: what it says, that it asks for nothing, and that no name of a plan can change it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from attrs import evolve
from plans import K, plan_of, planned

from kregistry.events import JitEvent, JitOutcome
from kregistry.plan.plan_file import PlanFile
from kregistry.report.page import page
from kregistry.report.page_contents import Comparison, PageContents
from kregistry.report.svg import Axis

EVENT = JitEvent(
    1e9,
    7,
    "python",
    "gemm",
    (),
    JitOutcome.COMPILED,
    2.5,
    "server.py:3 in run",
    (),
    "sample",
    {"n": 8, "layout": "row"},
    33,
)


def complete(contents: PageContents) -> PageContents:
    """The same, with everything in place and nothing refused."""
    facts = {id: evolve(each, state="ready") for id, each in contents.facts.items()}
    plan = evolve(contents.plan, entries=contents.plan.entries[:1])
    return evolve(contents, facts=facts, plan=plan)


class Wellformed(HTMLParser):
    """Notes every tag, and fails where one is closed that is not open."""

    VOID = ("meta", "link", "input", "rect", "polygon")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag == "option" and self.open[-1] != "option":
            return
        assert self.open.pop() == tag


def test_the_verdict(contents: PageContents) -> None:
    assert '<p class="verdict bad">1 of 4 kernels ready</p>' in page(contents)
    assert '<p class="verdict good">4 of 4 kernels ready</p>' in page(complete(contents))


def test_it_is_well_formed_and_loads_nothing(contents: PageContents) -> None:
    parser = Wellformed()
    parser.feed(page(contents))
    assert parser.open == []
    assert all(address.startswith(("#", "data:")) for address in parser.addresses)
    assert "default-src 'none'" in page(contents)
    assert not re.search(r"https?://(?!www\.w3\.org)", page(contents))


def test_a_map_has_a_bar_for_each_entry_and_a_segment_for_each_interval(contents: PageContents) -> None:
    text = page(contents)
    assert text.count('class="map"') == 2
    assert len(re.findall(r'<rect class="s k\d+" data-s', text)) == 5
    assert text.count('<rect class="refused"') == 1
    for title in ("The build", "Sizes and seconds by family", "Memory that a warm-up needs", "critical path: 5 tasks"):
        assert title in text
    assert "DG_JIT_DEBUG=1" in text
    assert "BLOCK_M=32" in text


def test_text_of_a_plan_is_text(contents: PageContents) -> None:
    """Labels, reasons and names come from files that others wrote."""
    evil = "</script><script>alert(1)</script><b>"
    (first, *rest) = contents.plan.entries
    entry = evolve(first.entry, label=evil, model=evil)
    plan = evolve(contents.plan, entries=(evolve(first, entry=entry), *rest))
    text = page(evolve(contents, plan=plan, title=evil, environment={"DG_X": evil}))
    assert "<script>alert" not in text and "<b>" not in re.sub(r"<b>[^<]*</b>", "", text)
    assert "&lt;no&gt; &amp; never" in text


def test_a_comparison_and_a_monitor_have_sections_and_marks(contents: PageContents) -> None:
    old = PlanFile.from_plan(evolve(plan_of(planned((1, 16, "0"), (17, 400, "2"))), kernels=contents.plan.kernels))
    comparison = Comparison.with_plan("old.lock", old, contents.plan)
    text = page(evolve(contents, comparison=comparison, monitor=("jit.log", (EVENT,))))
    assert "Differences from old.lock" in text
    assert comparison.changed[0] == ((17, 32), (301, 400))
    assert text.count('class="changed"') == 3
    assert text.count('class="seen"') == 1
    assert "What the JIT monitor saw" in text and "server.py:3 in run" in text
    same = Comparison.with_plan("same", PlanFile.from_plan(contents.plan), contents.plan)
    assert "No difference." in page(evolve(contents, comparison=same))


def test_without_a_build_it_says_so(contents: PageContents) -> None:
    assert "No build of this plan has left a log." in page(evolve(contents, log=None))


def test_an_empty_plan_is_a_page(contents: PageContents) -> None:
    text = page(PageContents("k.yaml", evolve(contents.plan, entries=(), kernels={}), {}))
    assert "0 of 0 kernels ready" in text


@pytest.mark.parametrize(("m", "x"), [(1, 0.0), (401, 1000.0)])
def test_the_axis(contents: PageContents, m: int, x: float) -> None:
    axis = Axis.of_entries(contents.plan.entries)
    assert axis.x(m) == pytest.approx(x)
    assert [value for value, _ in axis.ticks()] == [1, 2, 4, 8, 16, 32, 64, 128, 256]


def test_seventy_kernels_are_below_200_kilobytes(contents: PageContents) -> None:
    """As DeepSeek-V3 has them: 69 kernels, 12 entries, 214 segments, 20 arguments each."""
    arguments = tuple((f"kParameter{number}", "cutlass::bfloat16_t") for number in range(20))
    template = contents.facts[K[0].id]
    kernels = {f"gemm.{n:016x}": evolve(K[0], key=f"{n:016x}" + "0" * 48) for n in range(70)}
    facts = {id: evolve(template, kernel=kernel, arguments=arguments) for id, kernel in kernels.items()}
    (entry, _) = contents.plan.entries
    ids = list(kernels)
    segments = tuple(evolve(entry.segments[0], start=n, stop=n, kernels=(ids[n], ids[n + 20])) for n in range(1, 19))
    plan = evolve(contents.plan, kernels=kernels, entries=(evolve(entry, segments=segments),) * 12)
    assert len(page(evolve(contents, plan=plan, facts=facts)).encode()) < 200_000
