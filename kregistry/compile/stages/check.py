"""Check results before they are used: the self-check decides which cubin of a family is published, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from attrs import frozen

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.job import Job
from kregistry.compile.nvcc import Compilation
from kregistry.compile.shared.family_job import FamilyJob
from kregistry.compile.shared.self_check import Action, SelfCheck, Use
from kregistry.compile.stages.alone import Alone


@frozen(eq=False)
class CheckResults:
    """Gives results to the self-check and does what follows: publish a result, or let nvcc compile a kernel alone.

    Args:
        publish: the next stage.
        stopped: whether the build is being stopped, so that a failure says nothing about a kernel.
    """

    _self_check: SelfCheck
    _alone: Alone
    _publish: Callable[[Job, Compilation], None]
    _stopped: Callable[[], bool]
    _record: BuildRecord

    def choose_samples(self, jobs: Sequence[FamilyJob]) -> Sequence[FamilyJob]:
        """Choose which of some jobs, cheapest first, are compiled both ways; nvcc compiles these alone as well."""
        samples = self._self_check.choose(jobs)
        for job in samples:
            self.compile_alone(job, compares=True)
        return samples

    def compile_alone(self, job: FamilyJob, *, compares: bool = False) -> None:
        """Let nvcc compile a job on its own, if it does not yet."""
        self._alone.put(job, partial(self._made_alone, job), compares=compares)

    def run_alone(self, job: FamilyJob) -> None:
        """Let nvcc compile a job on its own now, in this worker."""
        self._alone.run(job, partial(self._made_alone, job))

    def shared(self, job: FamilyJob, result: Compilation) -> None:
        """A shared front end and the assembler have made a cubin."""
        self._do(self._self_check.shared(job, result))

    def not_shared(self, jobs: Iterable[FamilyJob], reason: str) -> None:
        """The shared front end has produced nothing usable for these jobs."""
        if not self._stopped():
            for job in jobs:
                self._do(self._self_check.nothing_shared(job, reason))

    def _made_alone(self, job: FamilyJob, result: Compilation) -> None:
        self._do(self._self_check.alone(job, result))

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Use):
                self._publish(action.job, action.result)
                continue
            if action.reason:
                self._record.not_shared(action.job.kernel, action.reason)
            self.compile_alone(action.job)
