"""The critical path of a build: the chain of tasks, each waiting for the one before it, that ends with the build."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush

from attrs import field, frozen

from kregistry.events.tasks import Task

#: Clocks of two threads may differ by as much.
_SLACK = 0.02


@frozen
class WaitedFor:
    """What a task had to wait for, and why.

    Attributes:
        task: the earlier task.
        why: in words.
        index: of the earlier task, among all tasks.
    """

    task: Task
    why: str
    index: int = field(default=0, eq=False)


def end(task: Task) -> float:
    """When a task ended, in seconds since the epoch."""
    return task.started + (task.seconds or 0.0)


def waited_for(tasks: Sequence[Task]) -> list[WaitedFor | None]:
    """For each task: what ended last of all that it had to wait for, its input or the task before it on its worker.

    Tasks shorter than the slack could wait for each other, so only one that started before can have been waited for.
    All tasks are looked at once, in the order of their starts: the time grows with their number, not with its square.
    """
    found: list[WaitedFor | None] = [None] * len(tasks)
    groups: dict[tuple[str, str], _Group] = {}
    order = sorted(range(len(tasks)), key=lambda index: tasks[index].started)
    added = 0
    for index in order:
        task = tasks[index]
        while tasks[order[added]].started < task.started:
            earlier = tasks[order[added]]
            for key in _ways_to_be_waited_for(earlier):
                groups.setdefault(key, _Group()).add(end(earlier), order[added])
            added += 1
        last = float("-inf")
        for key, why in _waits(task):
            ended, other = groups[key].last(task.started + _SLACK) if key in groups else (last, -1)
            if ended > last:
                last, found[index] = ended, WaitedFor(tasks[other], why, other)
    return found


def critical_path(tasks: Sequence[Task], waits: Sequence[WaitedFor | None] | None = None) -> list[int]:
    """The chain that ends with the last task, as indices, first task first.

    Args:
        tasks: of a build.
        waits: what :func:`waited_for` says of them.
    """
    if not tasks:
        return []
    waits = waited_for(tasks) if waits is None else waits
    chain = [max(range(len(tasks)), key=lambda index: end(tasks[index]))]
    while (before := waits[chain[-1]]) is not None:
        chain.append(before.index)
    return chain[::-1]


class _Group:
    """Tasks that can be waited for in one way: which one ended last, at times that only grow."""

    def __init__(self) -> None:
        self._running: list[tuple[float, int]] = []
        self._last = (float("-inf"), -1)

    def add(self, ended: float, index: int) -> None:
        heappush(self._running, (ended, index))

    def last(self, until: float) -> tuple[float, int]:
        """(end, index) of the task that ended last of those that had ended at this time."""
        while self._running and self._running[0][0] <= until:
            ended, index = heappop(self._running)
            if ended > self._last[0]:
                self._last = (ended, index)
        return self._last


def _ways_to_be_waited_for(task: Task) -> Iterator[tuple[str, str]]:
    yield "worker", task.worker
    if task.stage == "generate":
        for kernel in task.kernels:
            yield "generate", kernel
    elif task.stage == "parse":
        yield "parse", task.text
    elif task.stage == "plan":
        yield "plan", ""


def _waits(task: Task) -> Iterator[tuple[tuple[str, str], str]]:
    """The groups that a task waits for, the most telling reason first."""
    if task.stage == "assemble":
        for kernel in task.kernels:
            yield ("generate", kernel), "its PTX"
    elif task.stage == "generate":
        yield ("parse", task.text), "the parsed headers"
    yield ("worker", task.worker), "its worker was busy"
    if task.stage in ("parse", "alone", "compare"):
        yield ("plan", ""), "the plan to find it"
