"""Make a task of what the groups decide, when a worker is free."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import frozen

from kregistry.compile.costs import front_end_seconds
from kregistry.compile.schedule import Work
from kregistry.compile.shared.estimates import Estimates
from kregistry.compile.shared.groups import Group, Groups, ToParse


@frozen(eq=False)
class GroupTasks:
    """On-demand tasks of the schedule.

    Args:
        parse: parses the headers of a family.
        run: runs the front end of a group.
    """

    _groups: Groups
    _estimates: Estimates
    _parse: Callable[[ToParse], None]
    _run: Callable[[Group], None]

    def prepare(self, now: float) -> tuple[float, Work] | None:
        """See :class:`kregistry.compile.schedule.OnDemandTasks`: headers are needed whichever kernels come."""
        headers = self._groups.take_headers()
        return None if headers is None else (headers.seconds, partial(self._parse, headers))

    def take(self, now: float, other_seconds: float) -> tuple[float, Work] | None:
        """See :class:`kregistry.compile.schedule.OnDemandTasks`."""
        task = self._groups.take(now, other_seconds)
        if task is None:
            return None
        if isinstance(task, ToParse):
            return task.seconds, partial(self._parse, task)
        return front_end_seconds(map(self._estimates.cost, task.jobs)), partial(self._run, task)

    def next_due(self) -> float | None:
        """See :class:`kregistry.compile.schedule.OnDemandTasks`."""
        return self._groups.next_due()
