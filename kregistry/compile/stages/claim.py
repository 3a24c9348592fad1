"""Claim a job before it is compiled, so that of several builders on one store only one compiles a kernel."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from kregistry.compile.job import Job, State
from kregistry.compile.schedule import Schedule, Work
from kregistry.kernel import Kernel
from kregistry.store.claims import Claims

#: How long to wait before asking again for a kernel that another builder is compiling.
_RETRY_SECONDS = 0.25


@frozen(eq=False)
class Claim:
    """Takes jobs for this build, and gives them back when they are done.

    Args:
        known: uses what the store knows of a kernel; returns whether there was something.
        done: called for each job when nothing is left to do for it.
    """

    _claims: Claims
    _schedule: Schedule
    _known: Callable[[Kernel], bool]
    _done: Callable[[Job], None]

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
        ours = self._claims.acquire(job.kernel.key)
        if self._known(job.kernel):  # another builder has published it since it was planned
            if ours:
                self._claims.release(job.kernel.key)
            job.advance(State.SETTLED)
            self._done(job)
            return False
        if not ours:
            self._schedule.put(0.0, again, delay=_RETRY_SECONDS)
            return False
        return job.advance(State.CLAIMED)

    def release(self, job: Job) -> None:
        """Give back the claim of a job whose result is published: it is done."""
        self._claims.release(job.kernel.key)
        self._done(job)
