"""The end of plan, verify, build and warmup: problems of the outcome become warnings or an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from kregistry.cli.output import say

if TYPE_CHECKING:
    from kregistry.events import BrokenKernel
    from kregistry.plan.plan import Plan
    from kregistry.store import Store


class HasProblems(Protocol):
    """The report of a build or warm-up, or a plan with its broken kernels."""

    @property
    def broken(self) -> tuple[BrokenKernel, ...]: ...

    def raise_problems(self, *, allow_broken: bool = False) -> None: ...


@frozen
class PlanOutcome:
    """A plan, and those of its kernels that an earlier build found not to compile."""

    plan: Plan
    broken: tuple[BrokenKernel, ...]

    @classmethod
    def from_store(cls, plan: Plan, store: Store) -> PlanOutcome:
        """The outcome of a plan, with the broken kernels that the store has recorded."""
        from kregistry.compile.broken_calls import broken_kernels
        from kregistry.store.failures import BrokenKernels

        return cls(plan, broken_kernels(plan, BrokenKernels(store.directory).known(plan.kernels.values())))

    def raise_problems(self, *, allow_broken: bool = False) -> None:
        """
        Raises:
            CompileError: a kernel of the plan does not compile.
            PlanError: an entry could not be planned.
        """
        from kregistry.compile.broken_calls import raise_plan_problems

        raise_plan_problems(self.plan, () if allow_broken else self.broken)


def raise_problems(outcome: HasProblems, *, allow_broken: bool) -> None:
    """Raise the error of an outcome that is not complete.

    Args:
        outcome: the outcome.
        allow_broken: report kernels that do not compile as warnings on standard error, and not as an error.
    """
    if allow_broken:
        for each in outcome.broken:
            say(f"warning: {each}")
    outcome.raise_problems(allow_broken=allow_broken)
