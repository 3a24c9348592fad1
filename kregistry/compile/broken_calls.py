"""The calls that would crash a server, because DeepGEMM chooses a kernel for them that does not compile."""

from __future__ import annotations

from collections.abc import Iterable

from kregistry.errors import CompileError, PlanError, count_of
from kregistry.events.compiled import BrokenKernel, BrokenRange, FailedKernel
from kregistry.plan.plan import Plan


def broken_kernels(plan: Plan, failed: Iterable[FailedKernel]) -> tuple[BrokenKernel, ...]:
    """The kernels of a plan that do not compile, with all calls that use them."""
    return tuple(
        BrokenKernel(
            each.kernel.id,
            each.kernel.key,
            each.output,
            tuple(
                BrokenRange(planned.entry, start, stop)
                for planned in plan.entries
                for start, stop in planned.spans_of(each.kernel.id)
            ),
            each.known,
        )
        for each in failed
    )


def broken_error(
    broken: Iterable[BrokenKernel], total: int, problems: Iterable[str] = (), report: object = None
) -> CompileError:
    """The error for a plan of ``total`` kernels some of which do not compile, with the plan's other problems."""
    details = tuple(map(str, broken))
    return CompileError(
        f"{len(details)} of {total} kernels do not compile",
        (*details, *problems),
        "--allow-broken goes on without them, where no call comes to these values; see `kregistry docs broken-kernels`",
        report,
    )


def raise_plan_problems(plan: Plan, broken: tuple[BrokenKernel, ...], report: object = None) -> None:
    """Raise an error if a plan has problems, or kernels that do not compile.

    Args:
        plan: the plan.
        broken: its kernels that do not compile, without those that the user accepts.
        report: the report for the error.

    Raises:
        CompileError: a kernel does not compile.
        PlanError: an entry could not be planned.
    """
    problems = plan.problems()
    if broken:
        raise broken_error(broken, len(plan.kernels), problems, report)
    if problems:
        text = f"{count_of(len(problems), 'problem')} in {count_of(len(plan.entries), 'entry')}"
        raise PlanError(text, problems, report=report)
