"""Estimates for jobs: seconds of a family, scaled by the size of the kernel; and what a build learns for later ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kregistry.compile.build_report import FrontEndRun
from kregistry.compile.costs import Cost, Costs
from kregistry.compile.job import Job
from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.family_job import FamilyJob
from kregistry.compile.shared.kernel_family import Member, member_of
from kregistry.compile.shared.sizes import KernelSizes
from kregistry.events.compiled import CompiledKernel
from kregistry.kernel import Kernel


class Estimates:
    """How long each part of a job's compilation will take."""

    def __init__(self, costs: Costs, sizes: KernelSizes) -> None:
        self._costs = costs
        self._sizes = sizes

    def cost(self, job: Job) -> Cost:
        """Estimated seconds of one kernel; without a family its size is taken to be the mean."""
        size = self._sizes.relative(job.member) if isinstance(job, FamilyJob) else 1.0
        return self._costs.cost(job.kernel.name).of_size(size)

    def parse_seconds(self, name: str) -> float:
        """Estimated seconds in which the headers of kernels of this name are parsed."""
        return self._costs.cost(name).parse

    def learn_sizes(self, sizes: Iterable[tuple[Member, int]]) -> None:
        """Use sizes of generated PTX, in bytes, for kernels that are still to be compiled."""
        self._sizes.learn(sizes)

    def save(self, compiled: Sequence[CompiledKernel], front_ends: Sequence[FrontEndRun]) -> None:
        """Keep what a build measured, for the estimates of later builds with this store."""
        self._sizes.save()
        self._costs.learn(compiled, front_ends, self._relative_size)

    def _relative_size(self, kernel: Kernel) -> float:
        try:
            return self._sizes.relative(member_of(kernel))
        except CannotShare:
            return 1.0
