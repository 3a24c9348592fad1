"""What a report shows, gathered: plan, kernels, build, another plan to compare with, and the log of a monitor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from attrs import field, frozen

from kregistry.compile.build_log import BuildLog
from kregistry.events.jit import JitEvent
from kregistry.events.planned import Segment
from kregistry.manifest import Entry
from kregistry.plan.lock import changed_spans, differ, without_defaults
from kregistry.plan.plan import Plan
from kregistry.plan.plan_file import PlanFile
from kregistry.report.kernel_facts import KernelFacts


@frozen
class Comparison:
    """Another plan, and how this one differs from it.

    Attributes:
        name: of its file.
        lines: the differences, in words.
        changed: by number of the entry: the intervals of m that have other kernels now.
    """

    name: str
    lines: tuple[str, ...]
    changed: Mapping[int, tuple[tuple[int, int], ...]]

    @classmethod
    def with_plan(cls, name: str, old: PlanFile, plan: Plan) -> Comparison:
        """Compare a plan with an older one."""
        old, new = without_defaults(old, plan), PlanFile.from_plan(plan)
        before = {(each.model, each.type, str(each.shape), each.label): each for each in old.entries}
        changed: dict[int, tuple[tuple[int, int], ...]] = {}
        for index, entry in enumerate(new.entries):
            known = before.get((entry.model, entry.type, str(entry.shape), entry.label))
            segments: Sequence[Segment] = known.segments if known else ()
            spans = changed_spans(segments, entry.segments) if known else [(each, each) for each in entry.segments]
            if spans:
                changed[index] = tuple((after.start, after.stop) for _, after in spans)
        return cls(name, tuple(differ(old, new)), changed)


@frozen
class PageContents:
    """All that a page shows.

    Attributes:
        title: of the page: the manifest's file name.
        plan: the plan.
        facts: what is known of each of its kernels.
        log: the build that is shown.
        environment: DeepGEMM's environment variables that were set.
        comparison: another plan.
        monitor: name of a monitor's log, and its events.
    """

    title: str
    plan: Plan
    facts: Mapping[str, KernelFacts]
    log: BuildLog | None = None
    environment: Mapping[str, str] = field(factory=dict)
    comparison: Comparison | None = None
    monitor: tuple[str, tuple[JitEvent, ...]] | None = None

    @property
    def ready(self) -> int:
        """Kernels that are in place."""
        return sum(each.state == "ready" for each in self.facts.values())

    def seen(self) -> list[tuple[JitEvent, ...]]:
        """For each entry of the plan: the events of the monitor that belong to it."""
        events: dict[tuple[str, tuple[str, ...]], list[JitEvent]] = defaultdict(list)
        for event in self.monitor[1] if self.monitor else ():
            if event.m is not None:
                events[event.kernel_type, tuple(sorted(event.shape))].append(event)
        by_type: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for kernel_type, names in events:
            by_type[kernel_type].append(names)

        @cache
        def by_values(
            kernel_type: str, names: tuple[str, ...], common: tuple[str, ...]
        ) -> Mapping[tuple[object, ...], list[JitEvent]]:
            found: dict[tuple[object, ...], list[JitEvent]] = defaultdict(list)
            for event in events[kernel_type, names]:
                found[tuple(event.shape[name] for name in common)].append(event)
            return found

        def of_entry(entry: Entry) -> Iterator[JitEvent]:
            """An event belongs to an entry if they do not differ in a dimension that both name."""
            shape = dict(entry.shape.items())
            for names in by_type.get(entry.kernel_type, ()):
                common = tuple(name for name in names if name in shape)
                yield from by_values(entry.kernel_type, names, common).get(tuple(shape[name] for name in common), ())

        return [tuple(of_entry(planned.entry)) for planned in self.plan.entries]

    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before anything else."""
        lines = list(self.plan.problems())
        for state, words in (("missing", "not built"), ("stored", "not in the JIT cache"), ("broken", "broken")):
            names = [id for id, each in self.facts.items() if each.state == state]
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                lines.append(f"{len(names)} of {len(self.facts)} kernels are {words}: {', '.join(names[:3])}{more}")
        if self.monitor and self.monitor[1]:
            lines.append(f"the monitor saw DeepGEMM compile {len(self.monitor[1])} times ({self.monitor[0]})")
        return tuple(lines)

    @property
    def peak_bytes(self) -> int:
        """Device memory of the largest launch of a warm-up."""
        return max((each.nbytes for each in self.plan.entries), default=0)


def title_of(path: Path) -> str:
    """The name of a file, without its directory: a page is sent to others."""
    return path.name
