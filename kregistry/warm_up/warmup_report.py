"""Report of a warm-up, with the build before it."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from kregistry.compile.broken_calls import broken_error
from kregistry.compile.build_report import BuildReport
from kregistry.errors import WarmupError, count_of
from kregistry.events.warmed import WarmupOutcome


@frozen
class WarmupReport(WarmupOutcome):
    """The outcome of a warm-up in one process, and how to act on it.

    Attributes:
        build: the build before it; ``None`` where another rank built, or where an earlier start's plan still holds.
    """

    build: BuildReport | None = field(default=None, kw_only=True)

    def raise_problems(self, *, allow_broken: bool = False) -> None:
        """Raise an error if the warm-up is not complete.

        Args:
            allow_broken: accept kernels that do not compile; no call may come to the values that need them.

        Raises:
            WarmupError: a launch failed, or DeepGEMM compiled a kernel.
            CompileError, PlanError: the build has problems.
        """
        if self.build is not None:
            self.build.raise_problems(allow_broken=allow_broken)
        if self.broken and not allow_broken:
            raise broken_error(self.broken, self.total, report=self)
        if self.failed:
            text = f"{len(self.failed)} of {len(self.launches)} launches failed"
            raise WarmupError(text, tuple(map(str, self.failed)), report=self)
        if self.compiled:
            hint = "another environment planned it? kregistry doctor shows this one"
            raise WarmupError(f"DeepGEMM compiled {count_of(len(self.compiled), 'kernel')}", self.compiled, hint, self)

    def to_json(self) -> dict[str, Any]:
        return {
            "kernels": self.total,
            "loaded": len(self.loaded),
            "launches": len(self.launches),
            "left_on_disk": [{"entry": str(each), "bytes": each.nbytes} for each in self.left],
            "failed": [str(each) for each in self.failed],
            "compiled": list(self.compiled),
            "broken": [each.to_json() for each in self.broken],
            "peak_bytes": self.peak_bytes,
            "seconds": round(self.seconds, 4),
            "build": self.build.to_json() if self.build else None,
        }
