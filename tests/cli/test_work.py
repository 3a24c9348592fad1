"""The estimate of the time that is left, against simulated builds whose pace differs from what was recorded."""

from __future__ import annotations

import heapq
import random
from pathlib import Path

import pytest
from attrs import evolve
from plans import kernel_of, planned

from kregistry.cli.work import Work
from kregistry.compile import CompiledKernel
from kregistry.events import Task
from kregistry.kernel import Kernel
from kregistry.manifest import Manifest
from kregistry.target import get_target

ENTRIES = [planned((1, 16384, "0"), n=8 * number) for number in range(1, 21)]
MANIFEST = Manifest("k.yaml", get_target("h100"), ("model",), tuple(each.entry for each in ENTRIES), {})


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def kernels(count: int) -> list[Kernel]:
    name = "sm90_fp8_gemm_1d2d"
    return [evolve(kernel_of(0), name=name, key=f"{number:04x}" + 60 * "0") for number in range(count)]


def simulate(work: Work, clock: Clock, workers: int, slower: float, planning: float) -> tuple[list[float], float]:
    """A build of 80 kernels, in which all takes ``slower`` times as long; (seconds left at each second, the whole)."""
    random.seed(7)
    found = kernels(80)
    events: list[tuple[float, int, str, object]] = []
    order = iter(range(10**6))

    def at(time: float, name: str, what: object) -> None:
        heapq.heappush(events, (time, next(order), name, what))

    at(0.0, "start", None)
    for number, entry in enumerate(ENTRIES):
        at(3.5 + (planning - 3.5) * (number + 1) / len(ENTRIES), "entry", entry)
    free = [planning * 0.6] * workers
    for number, kernel in enumerate(found):
        at(3.5 + (planning - 3.5) * number / len(found), "kernel", kernel)
    for kernel in found:
        begin = heapq.heappop(free)
        estimate = work._estimate(kernel).whole
        end = begin + slower * estimate * random.uniform(0.4, 1.6)
        heapq.heappush(free, end)
        at(max(begin, planning * 0.6), "compile", kernel)
        at(end, "compiled", kernel)
    left: list[float] = []
    tasks: dict[str, Task] = {}
    while events:
        time, _, name, what = heapq.heappop(events)
        while clock.now + 1 <= time:
            clock.now += 1
            left.append(work.seconds_left())
        if name == "start":
            work.kregistry_plan_started(entries=len(ENTRIES))
        elif name == "entry":
            work.kregistry_entry_planned(entry=what)  # type: ignore[arg-type]
        elif isinstance(what, Kernel):
            if name == "kernel":
                work.kregistry_kernel_planned(kernel=what)
            elif name == "compile":
                tasks[what.id] = Task("alone", what.name, what.id, (what.id,), 0.0)
                work.kregistry_task_started(task=tasks[what.id])
            else:
                work.kregistry_task_finished(task=evolve(tasks[what.id], seconds=1.0))
                work.kregistry_kernel_compiled(kernel=what, compiled=CompiledKernel(what, 1.0, 10))
    return left, max(free)


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("slower", [0.5, 1.0, 2.0, 4.0])
def test_after_a_third_the_end_is_known_within_thirty_percent(tmp_path: Path, workers: int, slower: float) -> None:
    clock = Clock()
    work = Work(MANIFEST, tmp_path, workers, clock=clock)
    left, whole = simulate(work, clock, workers, slower, planning=8.0)
    third = max(len(left) // 3, 9)
    for second in range(third, int(whole * 0.9)):
        error = abs(second + 1 + left[second] - whole) / whole
        assert error < 0.3, (second, left[second], whole)


def test_the_fraction_never_goes_back(tmp_path: Path) -> None:
    """Although what is left grows whenever a kernel is found that was not expected."""
    clock = Clock()
    work = Work(MANIFEST, tmp_path, 2, clock=clock)
    work.kregistry_plan_started(entries=0)
    seen = []
    for number, kernel in enumerate(kernels(40)):
        clock.now += 0.1 if number % 4 else 3
        work.kregistry_kernel_planned(kernel=kernel)
        seen.append(work.fraction())
    assert seen == sorted(seen) and seen[0] > 0 and seen[-1] < 1


def test_what_is_in_the_store_is_no_work(tmp_path: Path) -> None:
    clock = Clock()
    work = Work(MANIFEST, tmp_path, 2, clock=clock)
    work.kregistry_plan_started(entries=0)
    for kernel in kernels(10):
        work.kregistry_kernel_planned(kernel=kernel)
    assert work.seconds_left() > 1
    for kernel in kernels(10):
        work.kregistry_kernel_found(kernel=kernel)
    clock.now = 1.0
    assert (work.seconds_left(), work.fraction()) == (0.0, 1.0)


def test_a_front_end_counts_before_its_kernels_are_assembled(tmp_path: Path) -> None:
    clock = Clock()
    work = Work(MANIFEST, tmp_path, 1, clock=clock)
    work.kregistry_plan_started(entries=0)
    found = tuple(kernels(10))
    for kernel in found:
        work.kregistry_kernel_planned(kernel=kernel)
    before = work.seconds_left()
    task = Task("generate", found[0].name, "worker 1", tuple(each.id for each in found), 0.0)
    work.kregistry_task_started(task=task)
    clock.now = 3.0
    assert work.slowest() == "front end of 10 sm90_fp8_gemm_1d2d, 3 s"
    running = work.seconds_left()
    work.kregistry_task_finished(task=evolve(task, seconds=3.0))
    assert before > running > 0
    assert before > work.seconds_left() > 0


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (Task("start", "torch and DeepGEMM", "planner 1", (), 0.0), "loading torch and DeepGEMM"),
        (Task("plan", "o_proj", "planner 1", (), 0.0), "planning o_proj"),
        (Task("parse", "gemm", "worker 1", (), 0.0), "parsing the headers of gemm"),
        (Task("generate", "gemm", "worker 1", ("gemm.1", "gemm.2"), 0.0), "front end of 2 gemm"),
        (Task("generate", "gemm", "worker 1", ("gemm.1",), 0.0), "front end of gemm.1"),
        (Task("assemble", "gemm", "worker 1", ("gemm.1",), 0.0), "assembling gemm.1"),
        (Task("compare", "gemm", "worker 1", ("gemm.1",), 0.0), "nvcc, to compare, gemm.1"),
    ],
)
def test_the_slowest_task_in_words(task: Task, text: str) -> None:
    clock = Clock()
    work = Work(MANIFEST, builds=False, clock=clock)
    assert work.slowest() == ""
    work.kregistry_task_started(task=task)
    clock.now = 2.0
    work.kregistry_task_started(task=evolve(task, worker="other", text="later", kernels=()))
    assert (work.slowest(), work.running) == (f"{text}, 2 s", 2)
