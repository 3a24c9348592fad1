"""Groups: which kernels share a front end, decided when a worker is free to run it.

A front end parses the headers once for all its kernels and then generates their code one after the other. Small groups
parse too often; one group too large is one core working alone. So a free worker takes as many kernels as it can turn
into PTX, and the others of the group's pieces be assembled, while everything else that is known keeps all workers busy;
but never so few that parsing is more than a fraction of the kernels' own work.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field, frozen

from kregistry.build.costs import Costs, front_end_seconds
from kregistry.build.front_end.family import Family, Member
from kregistry.plan.make import default_processes

#: Parsing may be this much of the work on the kernels of a group, where there are enough of them.
_PARSE_SHARE = 0.3
#: How much of the time that all workers still have to work a front end may take: estimates are rough.
_LONGEST_SHARE = 0.85
#: Kernels wait for others at most so long.
_PATIENCE_SECONDS = 5.0


@frozen
class Group:
    """Kernels of one family that share a front end."""

    family: Family
    members: tuple[Member, ...]


@define
class _Open:
    """Kernels of one family that wait for a front end."""

    since: float
    members: list[Member] = field(factory=list)


class Groups:
    """Kernels that wait for a front end, by family; not safe against threads."""

    def __init__(self, costs: Costs, workers: int) -> None:
        self.costs = costs
        self._workers = workers
        self._families: dict[Family, _Open] = {}
        #: No more kernels will come: nothing is gained by waiting.
        self.complete = False

    def add(self, member: Member, now: float) -> None:
        self._families.setdefault(member.family, _Open(now)).members.append(member)

    def seconds(self) -> float:
        """Estimated seconds of work on everything that waits here, for one worker."""
        return sum(self._work(family.members) for family in self._families.values())

    def take(self, now: float, other_seconds: float) -> Group | None:
        """The next group that need not wait any longer, the longest first.

        Args:
            now: the time of a monotonic clock.
            other_seconds: estimated seconds of work that the schedule holds apart from these kernels.
        """
        ready = [family for family in self._families if self.due(family) <= now]
        if not ready:
            return None
        family = max(ready, key=lambda each: self._work(self._families[each].members))
        waiting = self._families[family].members
        waiting.sort(key=lambda member: -self._own(member))
        count = self._count(waiting, (self.seconds() + other_seconds) / self._workers)
        members, rest = waiting[:count], waiting[count:]
        if rest:
            self._families[family].members = rest
        else:
            del self._families[family]
        return Group(family, tuple(members))

    def due(self, family: Family) -> float:
        """When a group of this family may be taken: at once if no more will come, else after some waiting for others.

        Waiting may save a front end, one core's time to parse. Cores that the dry run leaves idle lose that much
        together in a fraction of it, so a group that is large enough waits no longer than that. If there are none, or
        the group is small, waiting pays for longer.
        """
        waiting = self._families[family]
        if self.complete:
            return waiting.since
        parse = self._parse(waiting.members)
        enough = sum(map(self._own, waiting.members)) * _PARSE_SHARE >= parse
        idle = self._workers - default_processes(self._workers)
        return waiting.since + (parse / idle if enough and idle else _PATIENCE_SECONDS)

    def next_due(self) -> float | None:
        return min((self.due(family) for family in self._families), default=None)

    def _count(self, members: Sequence[Member], seconds_left: float) -> int:
        """How many of these the next front end takes."""
        if self._workers == 1:
            return len(members)
        parse = self._parse(members)
        limit = seconds_left * _LONGEST_SHARE
        front_end, assembly, own, left = parse, 0.0, 0.0, sum(map(self._own, members))
        for count, member in enumerate(members):
            cost = self.costs.cost(member.kernel.name)
            enough = own * _PARSE_SHARE >= parse and (not self.complete or (left - own) * _PARSE_SHARE >= parse)
            if enough and front_end + cost.generate + assembly / self._workers > limit:
                return count
            front_end += cost.generate
            assembly += cost.assemble
            own += cost.generate + cost.assemble
        return len(members)

    def _own(self, member: Member) -> float:
        """Seconds of a kernel apart from the headers."""
        cost = self.costs.cost(member.kernel.name)
        return cost.generate + cost.assemble

    def _parse(self, members: Sequence[Member]) -> float:
        return max(self.costs.cost(member.kernel.name).parse for member in members)

    def _work(self, members: Sequence[Member]) -> float:
        costs = [self.costs.cost(member.kernel.name) for member in members]
        return front_end_seconds(costs) + sum(cost.assemble for cost in costs)
