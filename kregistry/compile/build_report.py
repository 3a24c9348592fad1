"""What a build did."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from kregistry.compile.broken_calls import broken_error, broken_kernels
from kregistry.errors import PlanError
from kregistry.events.compiled import BrokenKernel, CompiledKernel, FailedKernel
from kregistry.kernel import Kernel
from kregistry.plan.plan import Plan


@frozen
class ParsedHeaders:
    """The headers of a family, parsed once for all front ends: its include, and what parsing took."""

    family: str
    seconds: float


@frozen
class FrontEndRun:
    """A front end behind parsed headers, shared by kernels: the include of their family, and what it took."""

    family: str
    kernels: tuple[Kernel, ...]
    seconds: float


@frozen
class NotShared:
    """A kernel that nvcc compiled alone although front ends are shared, and why."""

    kernel: Kernel
    reason: str


@frozen
class ComparedKernel:
    """A kernel that was compiled both ways, and what differs; empty if nothing does."""

    kernel: Kernel
    difference: str


@frozen
class SharingReport:
    """What was shared, what was not, and what was compared."""

    parsed: tuple[ParsedHeaders, ...] = ()
    front_ends: tuple[FrontEndRun, ...] = ()
    not_shared: tuple[NotShared, ...] = ()
    compared: tuple[ComparedKernel, ...] = ()

    def differences(self) -> tuple[ComparedKernel, ...]:
        """Kernels that a shared front end made otherwise than nvcc alone; nvcc's are the ones in use."""
        return tuple(each for each in self.compared if each.difference)

    def to_json(self) -> dict[str, Any]:
        reasons: dict[str, list[str]] = {}
        for each in self.not_shared:
            reasons.setdefault(each.reason, []).append(each.kernel.id)
        return {
            "parsed": [{"family": each.family, "seconds": round(each.seconds, 3)} for each in self.parsed],
            "front_ends": [
                {"family": run.family, "kernels": len(run.kernels), "seconds": round(run.seconds, 3)}
                for run in self.front_ends
            ],
            "not_shared": [{"reason": reason, "kernels": kernels} for reason, kernels in reasons.items()],
            "compared": [each.kernel.id for each in self.compared],
            "different": [{"id": each.kernel.id, "difference": each.difference} for each in self.differences()],
        }


@frozen
class BuildReport:
    """The outcome of a build.

    Attributes:
        plan: what was to be built.
        compiled: kernels that this build compiled.
        found: kernels that were in the store, or that another builder made meanwhile.
        failed: kernels that do not compile.
        filled: how many entries of the JIT cache were added or repaired.
        cache_directory: the JIT cache.
        seconds: wall time, planning included.
        compiling_seconds: wall time from the start of the first compiler to the end of the last.
        sharing: the front ends that kernels shared.
    """

    plan: Plan
    compiled: tuple[CompiledKernel, ...]
    found: int
    failed: tuple[FailedKernel, ...]
    filled: int
    cache_directory: str
    seconds: float
    compiling_seconds: float
    sharing: SharingReport = SharingReport()

    @property
    def ready(self) -> int:
        return self.found + len(self.compiled)

    @property
    def total(self) -> int:
        return len(self.plan.kernels)

    @property
    def broken(self) -> tuple[BrokenKernel, ...]:
        """The kernels that do not compile, with the calls that would crash a server."""
        return broken_kernels(self.plan, self.failed)

    def raise_problems(self, *, allow_broken: bool = False) -> None:
        """
        Args:
            allow_broken: accept kernels that do not compile, where no call comes to the values that need them.

        Raises:
            CompileError: a kernel does not compile.
            PlanError: an entry could not be planned.
        """
        problems = self.plan.problems()
        if self.failed and not allow_broken:
            raise broken_error(self.broken, self.total, problems, self)
        if problems:
            raise PlanError(f"{len(problems)} problems in {len(self.plan.entries)} entries", problems, report=self)

    def to_json(self) -> dict[str, Any]:
        return {
            "target": self.plan.target.name,
            "versions": self.plan.versions.to_json(),
            "kernels": self.total,
            "ready": self.ready,
            "compiled": [
                {"id": each.kernel.id, "seconds": round(each.seconds, 3), "bytes": each.nbytes}
                for each in self.compiled
            ],
            "failed": [
                {**broken.to_json(), "command": failed.command} for broken, failed in zip(self.broken, self.failed)
            ],
            "problems": list(self.plan.problems()),
            "cache_entries_filled": self.filled,
            "cache_directory": self.cache_directory,
            "seconds": round(self.seconds, 3),
            "compiling_seconds": round(self.compiling_seconds, 3),
            "sharing": self.sharing.to_json(),
        }
