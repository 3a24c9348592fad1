"""The critical path of a build: the chain of tasks, each waiting for the one before it, that ends with the build."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from kregistry.events.tasks import Task

#: Clocks of two threads may differ by as much.
_SLACK = 0.02


@frozen
class WaitedFor:
    """What a task had to wait for, and why.

    Attributes:
        task: the earlier task.
        why: in words.
    """

    task: Task
    why: str


def end(task: Task) -> float:
    """When a task ended, in seconds since the epoch."""
    return task.started + (task.seconds or 0.0)


def waited_for(task: Task, tasks: Sequence[Task]) -> WaitedFor | None:
    """What ended last of all that a task had to wait for: its input, or the task before it on the same worker."""
    found: list[WaitedFor] = []
    for other in tasks:
        # Tasks shorter than the slack could wait for each other: only one that started before can have been waited for.
        if other.started >= task.started or end(other) > task.started + _SLACK:
            continue
        if task.stage == "assemble" and other.stage == "generate" and set(task.kernels) & set(other.kernels):
            found.append(WaitedFor(other, "its PTX"))
        elif task.stage == "generate" and other.stage == "parse" and other.text == task.text:
            found.append(WaitedFor(other, "the parsed headers"))
        elif other.worker == task.worker:
            found.append(WaitedFor(other, "its worker was busy"))
        elif task.stage in ("parse", "alone", "compare") and other.stage == "plan":
            found.append(WaitedFor(other, "the plan to find it"))
    return max(found, key=lambda each: end(each.task), default=None)


def critical_path(tasks: Sequence[Task]) -> list[Task]:
    """The chain that ends with the last task, first task first."""
    if not tasks:
        return []
    chain = [max(tasks, key=end)]
    while (before := waited_for(chain[0], tasks)) is not None:
        chain.insert(0, before.task)
    return chain
