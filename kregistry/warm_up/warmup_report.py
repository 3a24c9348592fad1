"""Report of a warm-up."""

from __future__ import annotations

import enum
from typing import Any

from attrs import frozen

from kregistry.compile.broken_calls import BrokenKernel, broken_error
from kregistry.compile.build_report import BuildReport
from kregistry.errors import WarmupError
from kregistry.manifest import Entry


class Warmed(enum.Enum):
    """The outcome of one launch."""

    LOADED = "loaded"
    #: Its buffers exceed the memory budget, or it needs other processes. The first call will load the kernel from disk.
    LEFT = "left"
    FAILED = "failed"


@frozen
class WarmedKernel:
    """One launch of the warm-up.

    Attributes:
        entry: the call site.
        m: the run-time value.
        kernels: ids of the kernels that the launch loads for the first time.
        outcome: whether they are loaded.
        nbytes: bytes of device memory that the launch needs.
        text: the reason, if they are not loaded.
    """

    entry: Entry
    m: int
    kernels: tuple[str, ...]
    outcome: Warmed
    nbytes: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.entry} at {self.entry.range.name} {self.m}: {self.text}"


@frozen
class WarmupReport:
    """The outcome of a warm-up in one process.

    Attributes:
        launches: every launch, in order.
        total: number of kernels of the plan.
        peak_bytes: the most bytes of device memory that one launch needed.
        seconds: duration of the launches, without planning and building.
        compiled: directories of kernels that DeepGEMM compiled during the launches; there should be none.
        build: the build before the launches; ``None`` if another rank built, or if an earlier plan is still valid.
        broken: kernels of the plan that do not compile; nothing was launched where they are needed.
    """

    launches: tuple[WarmedKernel, ...]
    total: int
    peak_bytes: int
    seconds: float
    compiled: tuple[str, ...]
    build: BuildReport | None = None
    broken: tuple[BrokenKernel, ...] = ()

    def _kernels(self, outcome: Warmed) -> tuple[str, ...]:
        return tuple(dict.fromkeys(k for each in self.launches if each.outcome is outcome for k in each.kernels))

    @property
    def loaded(self) -> tuple[str, ...]:
        """Ids of the kernels that this process now holds."""
        return self._kernels(Warmed.LOADED)

    @property
    def left(self) -> tuple[WarmedKernel, ...]:
        """Launches that were not made, and whose kernels no other launch has loaded."""
        loaded = set(self.loaded)
        return tuple(
            each for each in self.launches if each.outcome is Warmed.LEFT and not loaded.issuperset(each.kernels)
        )

    @property
    def failed(self) -> tuple[WarmedKernel, ...]:
        return tuple(each for each in self.launches if each.outcome is Warmed.FAILED)

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
            raise WarmupError(f"DeepGEMM compiled {len(self.compiled)} kernels", self.compiled, hint, self)

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
