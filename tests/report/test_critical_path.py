"""What held a build up, and the trace that other tools read."""

from __future__ import annotations

import pytest

from kregistry.compile.build_log import BuildLog
from kregistry.events.tasks import Task
from kregistry.report.critical_path import critical_path, waited_for
from kregistry.report.trace import chrome_trace


def test_the_path_ends_with_the_last_task(log: BuildLog) -> None:
    path = [log.tasks[index] for index in critical_path(log.tasks)]
    assert [task.stage for task in path] == ["start", "plan", "parse", "generate", "assemble"]
    assert path[-1].seconds == 2.5
    assert critical_path(()) == []


def test_what_a_task_waited_for(log: BuildLog) -> None:
    reasons = {}
    for task, before in zip(log.tasks, waited_for(log.tasks)):
        reasons[f"{task.stage} on {task.worker}"] = f"{before.why}: {before.task.stage}" if before else ""
    assert reasons == {
        "start on planner 1": "",
        "plan on planner 1": "its worker was busy: start",
        "parse on worker 1": "the plan to find it: plan",
        "alone on worker 2": "the plan to find it: plan",
        "generate on worker 1": "the parsed headers: parse",
        "assemble on worker 2": "its PTX: generate",
        "assemble on worker 1": "its PTX: generate",
    }


def test_tasks_shorter_than_the_slack_do_not_wait_for_each_other() -> None:
    """A compiler that answers at once: its tasks are closer together than clocks agree."""
    tasks = [
        Task(stage="alone", text="gemm", worker="worker 1", kernels=(str(n),), started=100 + 0.001 * n, seconds=0.0005)
        for n in range(5)
    ]
    tasks.append(Task(stage="alone", text="same start", worker="worker 1", kernels=("x",), started=100.0, seconds=0.0))
    assert critical_path(tasks) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("step", [0.0, 1e-4, 0.5])
def test_a_path_through_many_tasks_is_found_in_one_pass(step: float) -> None:
    """Comparing each task with each other one would take minutes."""
    stages = ("plan", "parse", "generate", "assemble")
    tasks = [
        Task(stages[n % 4], f"family {n // 40}", f"worker {n % 8}", (f"k{n // 4}",) * (n % 4 > 1), 100 + step * n, 0.4)
        for n in range(60_000)
    ]
    path = critical_path(tasks)
    assert path == sorted(path) and len(set(path)) == len(path)
    assert path[-1] == (59_999 if step else 0)


def test_a_trace_has_an_event_for_each_task(log: BuildLog) -> None:
    """The format that ui.perfetto.dev opens: complete events with microseconds, and names of processes and threads."""
    trace = chrome_trace(log)
    tasks = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert len(tasks) == len(log.tasks)
    assert tasks[2]["name"] == "parse gemm"
    assert (tasks[2]["ts"], tasks[2]["dur"]) == (2_000_000, 2_000_000)
    named = {(each["pid"], each["tid"]) for each in trace["traceEvents"] if each["name"] == "thread_name"}
    assert {(each["pid"], each["tid"]) for each in tasks} == named
    assert [each["args"]["cores"] for each in trace["traceEvents"] if each["ph"] == "C"] == [1.5, 3.5, 2.0]
