"""Decide which way a job goes: to the shared front ends, or to nvcc alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import frozen

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.job import Job
from kregistry.compile.nvcc import Compilation
from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.family_job import FamilyJob
from kregistry.compile.shared.kernel_family import Member, member_of
from kregistry.compile.shared.self_check import SelfCheck
from kregistry.compile.stages.alone import Alone
from kregistry.compile.stages.waiting import Waiting
from kregistry.errors import MissingRequirement
from kregistry.kernel import Kernel


@frozen(eq=False)
class Route:
    """Makes jobs of kernels and sends them on.

    Args:
        shared: whether front ends are shared at all.
        publish: what follows after nvcc alone.
    """

    _shared: bool
    _self_check: SelfCheck
    _waiting: Waiting
    _alone: Alone
    _publish: Callable[[Job, Compilation], None]
    _record: BuildRecord

    def send(self, kernel: Kernel) -> None:
        """Pass a kernel to its next stage. If sharing is on but the kernel is compiled alone, an event reports why."""
        member = self._member(kernel) if self._shared else None
        if member is not None:
            self._waiting.add(FamilyJob(kernel, member))
        else:
            job = Job(kernel)
            self._alone.put(job, partial(self._publish, job))

    def expect(self, kernel: Kernel) -> bool:
        """Let the headers of a kernel's family be parsed, before it is known which of its kernels are needed.

        Returns:
            whether that is possible.
        """
        try:
            family = member_of(kernel).family
            possible = self._shared and not self._self_check.reason_not_shareable(family)
        except (CannotShare, MissingRequirement):  # the reason is told if such a kernel is needed
            return False
        if possible:
            self._waiting.expect(family, kernel.name)
        return possible

    def _member(self, kernel: Kernel) -> Member | None:
        try:
            member = member_of(kernel)
            reason = self._self_check.reason_not_shareable(member.family)
        except (CannotShare, MissingRequirement) as error:  # the latter: nvcc does not report its version
            self._record.not_shared(kernel, str(error))
            return None
        reason = reason or self._waiting.reason_given_up(member.family)
        if reason:
            self._record.not_shared(kernel, reason)
            return None
        return member
