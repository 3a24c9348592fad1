"""The report of a build, and the records of which it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import asdict, field, frozen

from kregistry.compile.broken_calls import broken_kernels, raise_plan_problems
from kregistry.events.compiled import BrokenKernel, CompiledKernel, FailedKernel
from kregistry.kernel import Kernel
from kregistry.plan.plan import Plan
from kregistry.remote.tier_use import TierUse
from kregistry.store.failures import was_interrupted

if TYPE_CHECKING:
    from kregistry.compile.cluster import ClusterUse


@frozen
class ParsedHeaders:
    """The headers of a family, parsed once: the family's first include, and the duration of parsing."""

    family: str
    seconds: float


@frozen
class FrontEndRun:
    """A front end that several kernels shared: the first include of their family, and the duration of the run."""

    family: str
    kernels: tuple[Kernel, ...]
    seconds: float


@frozen
class NotShared:
    """A kernel that nvcc compiled on its own although front ends are shared, and the reason."""

    kernel: Kernel
    reason: str


@frozen
class ComparedKernel:
    """A kernel that was compiled both ways, and the difference; empty if the cubins are the same."""

    kernel: Kernel
    difference: str


@frozen
class KnownFamily:
    """A family that was compared before: its first include, who compared it, and what differed, if anything did."""

    family: str
    compared_by: str
    difference: str = ""


@frozen
class SharingReport:
    """Which kernels shared a front end, which did not, which were compared, and which families had been before."""

    parsed: tuple[ParsedHeaders, ...] = ()
    front_ends: tuple[FrontEndRun, ...] = ()
    not_shared: tuple[NotShared, ...] = ()
    compared: tuple[ComparedKernel, ...] = ()
    known: tuple[KnownFamily, ...] = ()

    def differences(self) -> tuple[ComparedKernel, ...]:
        """The kernels that differ from what nvcc makes alone; the cubins of nvcc are used for them."""
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
            "known": [asdict(each) for each in self.known],
        }


@frozen
class BuildReport:
    """The outcome of a build.

    Attributes:
        plan: the plan that was built.
        compiled: the kernels that this build compiled.
        found: number of kernels that were in the store, or that another builder compiled meanwhile.
        failed: the kernels that do not compile.
        filled: number of entries of the JIT cache that were added or repaired.
        cache_directory: the JIT cache.
        seconds: wall time, including planning.
        compiling_seconds: wall time from the start of the first compiler to the end of the last.
        sharing: the front ends that kernels have shared.
        id: name of the build's log beside the store; empty if there is none.
        remote: how each remote tier was used.
        cluster: how a cluster was used that compiled in place of this machine; ``None`` without one.
        outdated: number of kernels that an older kregistry had left in the store, and that the build removed.
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
    id: str = field(default="", eq=False)
    outdated: int = 0
    remote: tuple[TierUse, ...] = ()
    cluster: ClusterUse | None = None

    @property
    def ready(self) -> int:
        """Number of kernels that are in the store and in the JIT cache."""
        return self.found + len(self.compiled)

    @property
    def total(self) -> int:
        """Number of kernels of the plan."""
        return len(self.plan.kernels)

    @property
    def broken(self) -> tuple[BrokenKernel, ...]:
        """The kernels that do not compile, with the calls that would crash a server."""
        return broken_kernels(self.plan, self.failed)

    @property
    def renewal(self) -> str:
        """A sentence about the kernels that an older kregistry had left in the store; empty if there were none."""
        if not self.outdated:
            return ""
        one = self.outdated == 1
        count, verb = ("1 kernel", "it was") if one else (f"{self.outdated} kernels", "they were")
        return f"The store held {count} of kregistry 0.1.0 without a digest: {verb} removed, to be compiled again."

    def raise_problems(self, *, allow_broken: bool = False) -> None:
        """Raise an error if a kernel or an entry failed.

        Args:
            allow_broken: accept kernels that the compiler rejects: no call will reach the values that need them. A
                compiler that was killed, or had no memory, has rejected nothing.

        Raises:
            CompileError: a kernel does not compile.
            PlanError: an entry could not be planned.
        """
        unaccepted = [
            broken for broken, failed in zip(self.broken, self.failed) if not allow_broken or was_interrupted(failed)
        ]
        raise_plan_problems(self.plan, tuple(unaccepted), self)

    def to_json(self) -> dict[str, Any]:
        return {
            **({"build": self.id} if self.id else {}),
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
            "outdated": self.outdated,
            "sharing": self.sharing.to_json(),
            "remote": [asdict(each) for each in self.remote],
            **({} if self.cluster is None else {"cluster": asdict(self.cluster)}),
        }
