"""nvcc compiles one kernel on its own: those that share no front end, and the samples of the self-check."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from attrs import frozen

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.job import Job
from kregistry.compile.nvcc import Compilation, Nvcc
from kregistry.compile.schedule import Schedule
from kregistry.compile.shared.estimates import Estimates
from kregistry.compile.stages.claim import Claim


@frozen(eq=False)
class Alone:
    """Schedules nvcc for single kernels.

    Args:
        scratch: gives a path for a scratch directory.
    """

    _schedule: Schedule
    _claim: Claim
    _nvcc: Nvcc
    _scratch: Callable[[str], Path]
    _estimates: Estimates
    _record: BuildRecord

    def put(self, job: Job, then: Callable[[Compilation], None], *, compares: bool = False) -> None:
        """Compile a job when its turn comes, once: a second call for the same job does nothing.

        Args:
            then: receives the result, unless the build is stopped or another builder publishes the kernel.
            compares: the result is compared with that of a shared front end.
        """
        if job.send_to_nvcc():
            work = partial(self._compile, job, then, compares)
            self._schedule.put(self._estimates.cost(job).alone, work, key=job.kernel.key)

    def run(self, job: Job, then: Callable[[Compilation], None]) -> None:
        """Compile a job now, in this worker; the same otherwise."""
        if job.send_to_nvcc():
            self._compile(job, then, compares=False)

    def _compile(self, job: Job, then: Callable[[Compilation], None], compares: bool) -> None:
        if not self._claim.take(job, again=partial(self._compile, job, then, compares)):
            return
        self._record.compile_started(job)
        with self._record.task("compare" if compares else "alone", job.kernel.name, (job.kernel,)):
            result = self._nvcc.compile(job.kernel, self._scratch("compile"))
        if not self._nvcc.stopped:  # a compiler that was cut off says nothing about the kernel
            then(result)
