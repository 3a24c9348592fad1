"""Jobs that wait for a front end of their family. Only this stage changes the groups, under the schedule's lock."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial

from attrs import field, frozen

from kregistry.compile.schedule import Schedule
from kregistry.compile.shared.family_job import FamilyJob
from kregistry.compile.shared.groups import Groups
from kregistry.compile.shared.header_pool import HeaderPool
from kregistry.compile.shared.headers import Headers
from kregistry.compile.shared.kernel_family import KernelFamily


@frozen(eq=False)
class Waiting:
    """The queue before the shared front ends; each change wakes the workers."""

    _schedule: Schedule
    _groups: Groups
    _given_up: dict[KernelFamily, str] = field(factory=dict, init=False)

    def add(self, job: FamilyJob) -> None:
        """Let a job wait for a front end."""
        self._schedule.change(partial(self._groups.add, job, time.monotonic()))

    def expect(self, family: KernelFamily, name: str) -> None:
        """Jobs of a family will come: let its headers be parsed before."""
        self._schedule.change(partial(self._groups.expect, family, name))

    def first(self, keys: Iterable[str]) -> None:
        """Take the jobs of these kernels before all others."""
        self._schedule.change(partial(self._groups.first, tuple(keys)))

    def complete(self) -> None:
        """Planning has ended: no job waits any longer for a sibling."""
        self._schedule.change(self._complete)

    def headers_parsed(self, family: KernelFamily, pool: HeaderPool) -> None:
        """Let the jobs of a family be taken, now that the pool has its headers; others may have to make room."""
        for headers in self._schedule.change(partial(self._headers_parsed, family, pool)):
            headers.close()

    def give_up(self, family: KernelFamily, reason: str) -> Sequence[FamilyJob]:
        """Remember that the headers of a family cannot be parsed.

        Returns:
            the jobs that waited for them.
        """
        return self._schedule.change(partial(self._give_up, family, reason))

    def reason_given_up(self, family: KernelFamily) -> str:
        """Why the headers of a family cannot be parsed; empty if no such reason is known."""
        return self._given_up.get(family, "")

    def divided(self, family: KernelFamily, change: int) -> None:
        """Add to the number of jobs that are taken and get a front end each; the headers of their family stay."""
        self._schedule.change(partial(self._groups.divided, family, change))

    # ---- under the schedule's lock ---------------------------------------------------------------------------

    def _complete(self) -> None:
        self._groups.complete = True

    def _headers_parsed(self, family: KernelFamily, pool: HeaderPool) -> Sequence[Headers]:
        gone = pool.shrink(self._groups.needed())
        for other in gone:
            self._groups.not_parsed(other)
        self._groups.parsed(family)
        return tuple(gone.values())

    def _give_up(self, family: KernelFamily, reason: str) -> Sequence[FamilyJob]:
        self._given_up[family] = reason
        return self._groups.give_up(family)
