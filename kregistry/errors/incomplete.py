"""Work that was done as far as it could be, and is not complete."""

from __future__ import annotations

from typing import Any, ClassVar

from attrs import define, field

from kregistry.errors.base import KregistryError


@define
class IncompleteError(KregistryError):
    """The work was done as far as it could be, and is not complete."""

    text: str
    details: tuple[str, ...] = ()
    hint: str = ""
    report: Any = field(default=None, repr=False)

    @property
    def message(self) -> str:
        return "\n".join((self.text, *(f"  {detail}" for detail in self.details)))


class PlanError(IncompleteError):
    """One or more entries could not be planned."""


class DriftError(IncompleteError):
    """The plan differs from a lock file."""


class CompileError(IncompleteError):
    """One or more kernels that DeepGEMM chooses do not compile."""

    exit_code: ClassVar[int] = 5


class VerifyError(IncompleteError):
    """One or more kernels are missing or damaged."""


class AuditError(IncompleteError):
    """One or more kernels are not what their sources compile to, or could not be compared."""


class ConformanceError(IncompleteError):
    """One or more kernel types break a rule of the conformance kit."""


class WarmupError(IncompleteError):
    """One or more entries could not be warmed up."""
