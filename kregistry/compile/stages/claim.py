"""Claim a job before it is compiled, so that of several builders on one store only one compiles a kernel."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from attrs import field, frozen

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.job import Job, State
from kregistry.compile.schedule import Schedule, Work
from kregistry.kernel import Kernel
from kregistry.store.claims import Claims

#: How long to wait before asking again for a kernel that another builder is compiling.
_RETRY_SECONDS = 0.25
#: How long to wait for another builder before listeners hear of it.
_SILENT_SECONDS = 5.0


@frozen(eq=False)
class Claim:
    """Takes jobs for this build, and gives them back when they are done.

    Args:
        known: uses what the store knows of a kernel; returns whether there was something.
        unneeded: whether a kernel was a guess that the plan has not confirmed.
        done: called for each job when nothing is left to do for it.
    """

    _claims: Claims
    _schedule: Schedule
    _known: Callable[[Kernel], bool]
    _done: Callable[[Job], None]
    _record: BuildRecord
    _unneeded: Callable[[Kernel], bool] = lambda kernel: False
    _waiting_since: dict[str, float] = field(factory=dict, init=False)

    def take(self, job: Job, again: Work) -> bool:
        """Claim a job.

        Args:
            again: called a moment later if another builder has claimed the kernel.

        Returns:
            whether this build is to compile the kernel now.

        Raises:
            StorageError: the claim cannot be written.
        """
        if job.state is not State.WAITING:
            return job.state < State.SETTLED
        if self._unneeded(job.kernel):
            job.advance(State.SETTLED)
            self._done(job)
            return False
        ours = self._claims.acquire(job.kernel.key)
        if self._known(job.kernel):  # another builder has published it since it was planned
            if ours:
                self._claims.release(job.kernel.key)
            job.advance(State.SETTLED)
            self._done(job)
            return False
        if not ours:
            self._report_wait(job.kernel)
            self._schedule.put(0.0, again, delay=_RETRY_SECONDS)
            return False
        return job.advance(State.CLAIMED)

    def _report_wait(self, kernel: Kernel) -> None:
        """Say once for whom a kernel waits, after a few seconds."""
        since = self._waiting_since.setdefault(kernel.key, time.monotonic())
        if time.monotonic() - since > _SILENT_SECONDS:
            self._waiting_since[kernel.key] = math.inf
            self._record.kernel_awaited(kernel, self._claims.owner(kernel.key))

    def release(self, job: Job) -> None:
        """Give back the claim of a job whose result is published: it is done."""
        self._claims.release(job.kernel.key)
        self._done(job)
