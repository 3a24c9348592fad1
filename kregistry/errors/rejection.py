"""What was refused from a remote."""

from __future__ import annotations

from typing import ClassVar

from attrs import define, frozen

from kregistry.errors.base import KregistryError
from kregistry.errors.wording import count_of


@frozen
class Rejection:
    """Something that was not taken from a remote.

    Attributes:
        outcome: the name of the reason, e.g. ``"unknown-key"``; see :mod:`kregistry.trust.outcome`.
        remote: its URL without secrets.
        subject: the kernel or the bundle.
        text: what the outcome means.
        detail: what was found; may be empty.
    """

    outcome: str
    remote: str
    subject: str
    text: str
    detail: str = ""

    @property
    def reason(self) -> str:
        return f"{self.outcome}: {self.text}{f' ({self.detail})' if self.detail else ''}"

    def __str__(self) -> str:
        return f"{self.subject}: {self.reason}"


@define
class TrustError(KregistryError):
    """Something from a remote was refused, and nothing of it was written."""

    exit_code: ClassVar[int] = 6
    rejections: tuple[Rejection, ...]
    hint: str = ""

    @property
    def message(self) -> str:
        first, *others = self.rejections
        if not others:
            of = "" if first.subject == first.remote else f"{first.subject}: "
            return f"remote {first.remote}: {of}{first.reason}"
        lines = (f"  {each}" for each in self.rejections)
        return "\n".join((f"remote {first.remote}: {count_of(len(self.rejections), 'kernel')} refused", *lines))
