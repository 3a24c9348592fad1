"""Assemble the PTX of a front-end run: one cubin for each job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from attrs import evolve, frozen

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.nvcc import Nvcc
from kregistry.compile.schedule import Schedule
from kregistry.compile.shared.estimates import Estimates
from kregistry.compile.shared.family_job import FamilyJob
from kregistry.compile.shared.front_end import FrontEndResult, Piece, assemble
from kregistry.compile.stages.check import CheckResults


@frozen(eq=False)
class Assemble:
    """Schedules the assembler and hands its cubins to the check.

    Args:
        scratch: gives a path for a scratch directory.
    """

    _schedule: Schedule
    _nvcc: Nvcc
    _scratch: Callable[[str], Path]
    _estimates: Estimates
    _check: CheckResults
    _record: BuildRecord

    def take(self, jobs: Sequence[FamilyJob], result: FrontEndResult) -> None:
        """Assemble each job of a front-end run when its turn comes; a single one at once."""
        pieces = [(job, result.pieces[job.kernel.key]) for job in jobs if job.kernel.key in result.pieces]
        self._estimates.learn_sizes((job.member, len(piece.text)) for job, piece in pieces)
        self._check.choose_samples([job for job, _ in sorted(pieces, key=lambda each: len(each[1].text))])
        if len(pieces) == 1:
            self._assemble(*pieces[0])
        else:
            for job, piece in pieces:
                work = partial(self._assemble, job, piece)
                self._schedule.put(self._estimates.cost(job).assemble, work, key=job.kernel.key)
        for job in jobs:
            if job.kernel.key in result.refused:
                self._check.not_shared([job], result.refused[job.kernel.key])

    def _assemble(self, job: FamilyJob, piece: Piece) -> None:
        self._record.compile_started(job)
        with self._record.task("assemble", job.kernel.name, (job.kernel,)):
            result = assemble(self._nvcc, piece, self._scratch("assemble"))
        if self._nvcc.stopped:  # an assembler that was cut off says nothing about the kernel
            return
        if result.failure:
            reason = f"the assembler failed on the split PTX: {result.failure.splitlines()[0]}"
            self._check.not_shared([job], reason)
        else:
            self._check.shared(job, evolve(result, front_end_seconds=piece.seconds))
