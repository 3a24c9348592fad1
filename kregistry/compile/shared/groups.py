"""Groups: which kernels share a front end, decided when a worker is free to run it.

The headers of a family are parsed as soon as two of its kernels are known. From then on a front end costs little more
than its kernels: a part of parsing, since it walks over all that the headers declare. So a free worker takes a few
kernels, never so few that this part matters where there are more, and never so many that others would wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TypeAlias

from attrs import define, field, frozen

from kregistry.compile.costs import Cost, Costs, front_end_seconds, start_seconds
from kregistry.compile.shared.kernel_family import Family, Member
from kregistry.compile.shared.sizes import KernelSizes

#: What a front end does for the headers may be this much of the work on its kernels, where there are enough of them.
_START_SHARE = 0.12
#: How much of the time that all workers still have to work a front end may take: estimates are rough.
_LONGEST_SHARE = 0.75
#: A kernel waits for a second one of its family at most so long.
_PATIENCE_SECONDS = 5.0


@frozen
class ToParse:
    """The headers of a family are to be parsed.

    Attributes:
        first: the smallest of the kernels that wait for them, which may be compared; it is among those no more.
        seconds: estimated, of parsing.
    """

    family: Family
    first: Member
    seconds: float


@frozen
class Group:
    """Kernels of one family that share a front end, or one that found no other and whose headers are not parsed."""

    family: Family
    members: tuple[Member, ...]


Task: TypeAlias = ToParse | Group


class _Headers(Enum):
    NOT_PARSED = "not parsed"
    IN_WORK = "in work"
    PARSED = "parsed"


@define
class _State:
    """A family whose kernels may share a front end.

    Attributes:
        members: those that wait.
        since: when the first of them began to.
        divided: how many have been taken together and wait for a front end each.
    """

    headers: _Headers = _Headers.NOT_PARSED
    since: float = 0.0
    members: list[Member] = field(factory=list)
    divided: int = 0


class Groups:
    """Kernels that wait for a front end, by family; not safe against threads."""

    def __init__(self, costs: Costs, sizes: KernelSizes, workers: int) -> None:
        self.costs = costs
        self.sizes = sizes
        self.workers = workers
        self._families: dict[Family, _State] = {}
        #: No more kernels will come: nothing is gained by waiting.
        self.complete = False

    def cost(self, member: Member) -> Cost:
        """Estimated seconds of one kernel."""
        return self.costs.cost(member.kernel.name).of_size(self.sizes.relative(member))

    def add(self, member: Member, now: float) -> None:
        state = self._families.setdefault(member.family, _State())
        state.since = state.since if state.members else now
        state.members.append(member)

    def parsed(self, family: Family) -> None:
        """The headers of a family are parsed: its kernels wait no longer."""
        self._families[family].headers = _Headers.PARSED

    def not_parsed(self, family: Family) -> None:
        """The headers of a family are gone: its kernels wait until they are parsed again."""
        self._families[family].headers = _Headers.NOT_PARSED

    def give_up(self, family: Family) -> Sequence[Member]:
        """The kernels that wait for headers which cannot be parsed."""
        return self._families.pop(family).members

    def divided(self, family: Family, change: int) -> None:
        """So many more kernels of a family, or fewer, are to have a front end each: its headers stay until then."""
        self._families[family].divided += change

    def needed(self) -> set[Family]:
        """Families for whose headers something waits; no more than workers, so that all of them may be kept."""
        return {
            family
            for family, state in self._families.items()
            if state.headers is _Headers.IN_WORK
            or (state.headers is _Headers.PARSED and (state.members or state.divided))
        }

    def seconds(self) -> float:
        """Estimated seconds of work on everything that waits here, for one worker."""
        return sum(self._work(state.members) for state in self._families.values() if state.members)

    def take(self, now: float, other_seconds: float) -> Task | None:
        """The next task that need not wait any longer: headers first, then the family with most work.

        Args:
            now: the time of a monotonic clock.
            other_seconds: estimated seconds of work that the schedule holds apart from these kernels.
        """
        families = sorted(self._families.items(), key=lambda item: -self._work(item[1].members))
        for family, state in families if len(self.needed()) < self.workers else ():
            if state.headers is _Headers.NOT_PARSED and len(state.members) > 1:
                state.headers = _Headers.IN_WORK
                first = min(state.members, key=self._size)
                state.members.remove(first)
                return ToParse(family, first, self._parse_seconds(state.members))
        for family, state in families:
            due = self._due(state)
            if due is not None and due <= now:
                state.members.sort(key=self._size, reverse=True)
                count = self._count(state.members, (self.seconds() + other_seconds) / self.workers)
                members, state.members = state.members[:count], state.members[count:]
                return Group(family, tuple(members))
        return None

    def next_due(self) -> float | None:
        """When a kernel will have waited long enough for a second one."""
        due = map(self._due, self._families.values())
        return min((time for time in due if time is not None), default=None)

    def _due(self, state: _State) -> float | None:
        """When a group of this family may be taken; ``None`` if that is not a matter of time."""
        if not state.members or state.headers is _Headers.IN_WORK:
            return None
        if state.headers is _Headers.PARSED:
            return state.since
        if len(state.members) > 1:  # they wait for their headers
            return None
        return state.since + (0.0 if self.complete else _PATIENCE_SECONDS)

    def _count(self, members: Sequence[Member], seconds_left: float) -> int:
        """How many of these the next front end takes."""
        if self.workers == 1:
            return len(members)
        start = start_seconds(self._parse_seconds(members))
        front_end, assembly, own, left = start, 0.0, 0.0, sum(map(self._own, members))
        for count, member in enumerate(members):
            cost = self.cost(member)
            enough = own * _START_SHARE >= start and (not self.complete or (left - own) * _START_SHARE >= start)
            if enough and front_end + cost.generate + assembly / self.workers > seconds_left * _LONGEST_SHARE:
                return count
            front_end += cost.generate
            assembly += cost.assemble
            own += cost.generate + cost.assemble
        return len(members)

    def _size(self, member: Member) -> tuple[float, tuple[int, ...]]:
        """An order, the most work last: where nothing else tells kernels apart, larger numbers are larger tiles."""
        return self._own(member), tuple(int(each) for each in member.arguments if each.isdecimal())

    def _own(self, member: Member) -> float:
        """Seconds of a kernel apart from the headers."""
        cost = self.cost(member)
        return cost.generate + cost.assemble

    def _parse_seconds(self, members: Sequence[Member]) -> float:
        return max(self.cost(member).parse for member in members)

    def _work(self, members: Sequence[Member]) -> float:
        costs = [self.cost(member) for member in members]
        return front_end_seconds(costs) + sum(cost.assemble for cost in costs) if costs else 0.0
