"""A front end has failed, perhaps because of one kernel: each job of its group gets a front end of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from attrs import frozen

from kregistry.compile.costs import front_end_seconds
from kregistry.compile.schedule import Schedule
from kregistry.compile.shared.estimates import Estimates
from kregistry.compile.shared.family_job import FamilyJob
from kregistry.compile.shared.groups import Group
from kregistry.compile.stages.check import CheckResults
from kregistry.compile.stages.waiting import Waiting


@frozen(eq=False)
class Divide:
    """Divides groups; the headers of a divided group stay in the pool until each of its jobs has had its turn."""

    _schedule: Schedule
    _waiting: Waiting
    _check: CheckResults
    _estimates: Estimates

    def divide(self, jobs: Sequence[FamilyJob], reason: str, again: Callable[[Group], None]) -> None:
        """Schedule a front end for each job; a single job is left to nvcc.

        Args:
            reason: why the front end of all of them failed.
            again: runs the front end of a group.
        """
        if len(jobs) == 1:
            self._check.not_shared(jobs, reason)
            return
        self._waiting.divided(jobs[0].member.family, len(jobs))
        for job in jobs:
            seconds = front_end_seconds([self._estimates.cost(job)])
            self._schedule.put(seconds, partial(self._run, job, again), key=job.kernel.key)

    def _run(self, job: FamilyJob, again: Callable[[Group], None]) -> None:
        try:
            again(Group(job.member.family, (job,)))
        finally:
            self._waiting.divided(job.member.family, -1)
