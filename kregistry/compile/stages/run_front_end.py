"""Run one front end for a group of jobs: PTX for all of them, behind headers that are parsed already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from attrs import frozen

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.build_report import FrontEndRun
from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.family_job import FamilyJob
from kregistry.compile.shared.front_end import run_front_end
from kregistry.compile.shared.groups import Group
from kregistry.compile.shared.header_pool import HeaderPool
from kregistry.compile.shared.headers import Headers
from kregistry.compile.stages.assemble import Assemble
from kregistry.compile.stages.check import CheckResults
from kregistry.compile.stages.claim import Claim
from kregistry.compile.stages.divide import Divide
from kregistry.compile.stages.waiting import Waiting


@frozen(eq=False)
class RunFrontEnd:
    """Generates PTX and hands it to the assembler.

    Args:
        scratch: gives a path for a scratch directory.
    """

    _claim: Claim
    _waiting: Waiting
    _pool: HeaderPool
    _scratch: Callable[[str], Path]
    _assemble: Assemble
    _divide: Divide
    _check: CheckResults
    _record: BuildRecord

    def run(self, group: Group) -> None:
        """Claim the jobs of a group and run their front end."""
        jobs = [job for job in group.jobs if self._claim.take(job, again=partial(self._waiting.add, job))]
        with self._pool.use(group.family) as headers:
            if headers is not None and jobs:
                self._generate(headers, jobs)
            elif len(jobs) == 1:  # it has found no sibling, or does not wait for the headers
                self._check.run_alone(jobs[0])
            else:  # the headers had to make room for others meanwhile
                for job in jobs:
                    self._waiting.add(job)

    def _generate(self, headers: Headers, jobs: Sequence[FamilyJob]) -> None:
        kernels = tuple(job.kernel for job in jobs)
        try:
            with self._record.front_end(kernels):
                result = run_front_end(headers, [job.member for job in jobs], self._scratch("front-end"))
        except CannotShare as error:
            self._divide.divide(jobs, str(error), again=self.run)
            return
        self._record.front_end_run(FrontEndRun(str(jobs[0].member.family), kernels, result.seconds))
        self._assemble.take(jobs, result)
