"""Groups: which jobs share a front end. It is decided when a worker is free to run it.

The headers of a family are parsed as soon as two of its jobs are known, and its other jobs wait for them: workers that
parse the same headers meanwhile slow each other down by more than they gain. Behind the headers each free worker takes
some of the jobs that wait, as many as :mod:`kregistry.compile.shared.group_size` says. A kernel that a call waits for
is taken first, by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TypeAlias

from attrs import define, field, frozen

from kregistry.compile.costs import Cost, front_end_seconds
from kregistry.compile.shared.estimates import Estimates
from kregistry.compile.shared.family_job import FamilyJob
from kregistry.compile.shared.group_size import group_size
from kregistry.compile.shared.kernel_family import KernelFamily

#: How long a job waits for a second one of its family before it is compiled on its own.
_PATIENCE_SECONDS = 5.0


@frozen
class ToParse:
    """The headers of a family are to be parsed.

    Attributes:
        first: the smallest of the jobs that waited for them, which may be the sample; it does not wait any longer.
            ``None`` if no job is known yet.
        seconds: estimated duration of parsing.
        name: DeepGEMM's name of the kernels.
    """

    family: KernelFamily
    first: FamilyJob | None
    seconds: float
    name: str


@frozen
class Group:
    """Jobs of one family that share a front end; or one job that does not wait for its headers to be parsed."""

    family: KernelFamily
    jobs: tuple[FamilyJob, ...]


Task: TypeAlias = ToParse | Group


class _Headers(Enum):
    NOT_PARSED = "not parsed"
    IN_WORK = "in work"
    PARSED = "parsed"


@define
class _State:
    """One family.

    Attributes:
        since: when the first of the jobs began to wait, on the monotonic clock.
        jobs: the jobs that wait.
        divided: how many jobs have been taken and are to get a front end each.
        expected: the name of kernels of which many are expected; empty if none are, or the headers have been taken.
    """

    headers: _Headers = _Headers.NOT_PARSED
    since: float = 0.0
    jobs: list[FamilyJob] = field(factory=list)
    divided: int = 0
    expected: str = ""

    def due(self, patience: float) -> float | None:
        """When a group of this family may be taken; ``None`` if that is not a matter of time."""
        if not self.jobs or self.headers is _Headers.IN_WORK:
            return None
        if self.headers is _Headers.PARSED:
            return self.since
        if len(self.jobs) > 1:  # they wait for their headers
            return None
        return self.since + patience


class Groups:
    """The jobs that wait for a front end, by family. Not safe against threads: the schedule's lock guards it.

    Attributes:
        complete: whether planning has ended, so that nothing is gained by waiting for a sibling.
    """

    def __init__(self, estimates: Estimates, workers: int) -> None:
        self.complete = False
        self._estimates = estimates
        self._workers = workers
        self._families: dict[KernelFamily, _State] = {}
        self._urgent: set[str] = set()

    def add(self, job: FamilyJob, now: float) -> None:
        """Let a job wait."""
        state = self._families.setdefault(job.member.family, _State())
        state.since = state.since if state.jobs else now
        state.jobs.append(job)

    def expect(self, family: KernelFamily, name: str) -> None:
        """Jobs of a family will come: its headers are parsed before."""
        state = self._families.setdefault(family, _State())
        if state.headers is _Headers.NOT_PARSED:
            state.expected = name

    def first(self, keys: Iterable[str]) -> None:
        """Take the jobs of these kernels before all others, including jobs that are added later."""
        self._urgent.update(keys)

    def parsed(self, family: KernelFamily) -> None:
        """The headers of a family have been parsed: its jobs may be taken."""
        self._families[family].headers = _Headers.PARSED

    def not_parsed(self, family: KernelFamily) -> None:
        """The headers of a family have been closed: its jobs wait until they are parsed again."""
        self._families[family].headers = _Headers.NOT_PARSED

    def give_up(self, family: KernelFamily) -> Sequence[FamilyJob]:
        """The headers of a family cannot be parsed: drop it, and return the jobs that waited."""
        return self._families.pop(family).jobs

    def divided(self, family: KernelFamily, change: int) -> None:
        """Add to the number of jobs that are to get a front end each: the headers stay until it is 0."""
        self._families[family].divided += change

    def needed(self) -> set[KernelFamily]:
        """The families whose headers are still needed: at most as many as workers, so that all can be kept."""
        return {
            family
            for family, state in self._families.items()
            if state.headers is _Headers.IN_WORK or (state.headers is _Headers.PARSED and (state.jobs or state.divided))
        }

    def seconds(self) -> float:
        """Estimated seconds of all work on the jobs that wait, for one worker."""
        return sum(self._work(state) for state in self._families.values())

    def take(self, now: float, other_seconds: float) -> Task | None:
        """The next task that is due: urgent jobs first, then headers, then the family with most work.

        Args:
            now: the time of the monotonic clock, in seconds.
            other_seconds: estimated seconds of all other tasks of the schedule.
        """
        states = sorted(self._families.items(), key=lambda item: -self._work(item[1]))
        for family, state in states if self._urgent else ():
            urgent = next((job for job in state.jobs if job.kernel.key in self._urgent), None)
            if urgent is not None:
                state.jobs.remove(urgent)
                return Group(family, (urgent,))
        headers = self.take_headers()
        if headers is not None:
            return headers
        for family, state in states:
            due = state.due(self._patience)
            if due is not None and due <= now:
                state.jobs.sort(key=self._size, reverse=True)
                left = (self.seconds() + other_seconds) / self._workers
                count = group_size(self._costs(state), left, self._workers, complete=self.complete)
                jobs, state.jobs = state.jobs[:count], state.jobs[count:]
                return Group(family, tuple(jobs))
        return None

    def take_headers(self) -> ToParse | None:
        """The next headers to parse: those of the family with most work; ``None`` if none are needed yet.

        There are no more headers than workers: otherwise two families could take the room from each other for ever.
        """
        due = [
            (family, state)
            for family, state in self._families.items()
            if state.headers is _Headers.NOT_PARSED and (len(state.jobs) > 1 or state.expected)
        ]
        if not due or len(self.needed()) >= self._workers:
            return None
        return self._to_parse(*max(due, key=lambda item: self._work(item[1])))

    def _to_parse(self, family: KernelFamily, state: _State) -> ToParse:
        state.headers = _Headers.IN_WORK
        name, state.expected = state.expected, ""
        first = min(state.jobs, key=self._size) if len(state.jobs) > 1 else None
        if first is not None:
            state.jobs.remove(first)
            name = first.kernel.name
        seconds = max((self._cost(job).parse for job in state.jobs), default=self._estimates.parse_seconds(name))
        return ToParse(family, first, seconds, name)

    def next_due(self) -> float | None:
        """When a job will have waited long enough for a second one; ``None`` if there is no such job."""
        due = (state.due(self._patience) for state in self._families.values())
        return min((time for time in due if time is not None), default=None)

    @property
    def _patience(self) -> float:
        return 0.0 if self.complete else _PATIENCE_SECONDS

    def _size(self, job: FamilyJob) -> tuple[float, tuple[int, ...]]:
        """A sort key, the most work last. If nothing else is known of jobs, larger numbers stand for larger tiles."""
        return self._cost(job).code, tuple(int(each) for each in job.member.arguments if each.isdecimal())

    def _cost(self, job: FamilyJob) -> Cost:
        return self._estimates.cost(job)

    def _costs(self, state: _State) -> list[Cost]:
        return [self._cost(job) for job in state.jobs]

    def _work(self, state: _State) -> float:
        costs = self._costs(state)
        return front_end_seconds(costs) + sum(cost.assemble for cost in costs) if costs else 0.0
