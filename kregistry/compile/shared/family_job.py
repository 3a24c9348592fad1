"""A job whose kernel can share a front end with others of its family."""

from __future__ import annotations

from attrs import define

from kregistry.compile.job import Job
from kregistry.compile.shared.kernel_family import Member


@define
class FamilyJob(Job):
    """
    Attributes:
        member: the kernel as one of its family.
    """

    member: Member
