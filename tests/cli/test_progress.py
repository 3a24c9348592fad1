"""The progress bar: it counts what the events say; a log file gets only what went wrong."""

from __future__ import annotations

import io
import re
import time

import pytest
import rich.live  # noqa: F401  # it takes the name of the console when it is imported
from attrs import evolve
from plans import K, planned
from rich.console import Console

from kregistry.cli import progress as module
from kregistry.cli.option_values import Verbosity
from kregistry.compile import CompiledKernel, FailedKernel
from kregistry.events import Task
from kregistry.registry import Registry
from kregistry.warm_up import Warmed, WarmedKernel


def task_of(*numbers: int, stage: str = "assemble") -> Task:
    kernels = tuple(K[number].id for number in numbers)
    return Task(stage, "gemm", f"worker {numbers[0]} of {stage}", kernels, 0.0)


def send(registry: Registry) -> None:
    """A build of four kernels, and a warm-up."""
    hook = registry.hook
    hook.kregistry_plan_started(entries=2, target="h100")
    for kernel in K:
        hook.kregistry_kernel_planned(kernel=kernel)
    hook.kregistry_kernel_found(kernel=K[0])
    for number in (1, 2, 3):
        hook.kregistry_task_started(task=task_of(number))
    for number in (1, 2):
        hook.kregistry_task_finished(task=evolve(task_of(number), seconds=1.0))
    hook.kregistry_kernel_compiled(kernel=K[1], compiled=CompiledKernel(K[1], 1.0, 10))
    hook.kregistry_kernel_failed(kernel=K[2], failed=FailedKernel(K[2], "nvcc", "odd"))
    hook.kregistry_entry_planned(entry=planned((1, 8, "0")))
    hook.kregistry_warmup_started(launches=2)
    for outcome in (Warmed.LOADED, Warmed.LEFT):
        warmed = WarmedKernel(planned((1, 8, "0")).entry, 4, ("k",), outcome, 10, "too large")
        hook.kregistry_kernel_warmed(warmed=warmed)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    out = io.StringIO()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=out, force_terminal=True, width=120))
    return out


def test_it_counts_what_the_events_say(terminal: io.StringIO) -> None:
    registry = Registry(load_entry_points=False)
    with module.ProgressBar(registry) as bar:
        send(registry)
        work = bar.work
        registry.events.flush()
        assert (work.planned, work.entries) == (1, 2)
        assert (work.ready, work.broken, work.known, work.running) == (2, 1, 4, 1)
        assert (work.loaded, work.launches) == (2, 2)
        bar._live.refresh()
    text = terminal.getvalue()
    assert f"{K[2].id} does not compile" in text
    assert "left: model: sample" in text and "2/2 launches" in text and "about 0:0" in text


def test_a_kernel_that_is_known_to_be_broken_was_not_compiled(
    terminal: io.StringIO,
) -> None:
    registry = Registry(load_entry_points=False)
    with module.ProgressBar(registry) as bar:
        send(registry)
        registry.hook.kregistry_kernel_failed(kernel=K[0], failed=FailedKernel(K[0], "nvcc", "odd", known=True))
    assert (bar.work.ready + bar.work.broken, bar.work.running) == (4, 1)
    assert f"{K[0].id} is known not to compile" in terminal.getvalue()


def test_a_log_file_gets_only_what_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    registry = Registry(load_entry_points=False)
    with module.ProgressBar(registry):
        send(registry)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"{K[2].id} does not compile",
        "left: model: sample n=8 layout=row splits=none sms=132 at m 4: too large",
    ]


def test_front_ends_run_and_a_difference_is_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Each kernel of a front end starts by itself, after it or, a sample, beside it."""
    registry = Registry(load_entry_points=False)
    hook = registry.hook
    difference = f"only one of them has the section .text.{'long' * 40}"
    notes = []
    with module.ProgressBar(registry) as bar:
        for kernel in K[:2]:
            hook.kregistry_kernel_planned(kernel=kernel)
        shared = task_of(0, 1, stage="generate")
        hook.kregistry_task_started(task=shared)
        hook.kregistry_front_end_started(kernels=(K[0], K[1]))
        registry.events.flush()
        notes.append(bar.work.running)
        hook.kregistry_front_end_finished(kernels=(K[0], K[1]), seconds=2.0)
        hook.kregistry_task_finished(task=evolve(shared, seconds=2.0))
        hook.kregistry_front_end_not_shared(kernel=K[1], reason="uses counter")
        registry.events.flush()
        notes.append(bar.work.running)
        for kernel, found in ((K[0], ""), (K[1], difference)):
            hook.kregistry_task_started(task=task_of(K.index(kernel)))
            hook.kregistry_front_end_compared(kernel=kernel, difference=found)
        registry.events.flush()
        notes.append(bar.work.running)
        registry.events.flush()
        assert bar.work.ready == 0
    assert notes == [1, 0, 2]
    captured = capsys.readouterr()
    assert captured.out == ""
    words = "a shared front end and nvcc alone make different kernels; nvcc's is used"
    assert captured.err == f"{K[1].id}: {words}: {difference}\n"


def pace(monkeypatch: pytest.MonkeyPatch, least: float, every: float) -> None:
    monkeypatch.setattr(module, "_TICK_SECONDS", least)
    monkeypatch.setattr(module, "_LEAST_SECONDS", least)
    monkeypatch.setattr(module, "_LINE_SECONDS", every)


def test_a_pipe_gets_lines_while_nothing_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line says how far the work is, what is left, and what is slowest now."""
    pace(monkeypatch, 0.01, 0.02)
    registry = Registry(load_entry_points=False)
    registry.hook.kregistry_plan_started(entries=0, target="h100")
    with module.ProgressBar(registry):
        registry.hook.kregistry_plan_started(entries=0, target="h100")
        registry.hook.kregistry_kernel_planned(kernel=K[0])
        registry.hook.kregistry_task_started(task=task_of(0))
        form = rf" *\d+% compiling: 0/1 kernels, 0:\d\d, about 0:\d\d left; slowest: assembling {K[0].id}, \d+ s"
        shown = ""
        while len(re.findall(f"^{form}$", shown, re.MULTILINE)) < 3:
            time.sleep(0.01)
            shown += capsys.readouterr().err
    shown += capsys.readouterr().err
    assert re.fullmatch(form, shown.splitlines()[-1]), shown


@pytest.mark.parametrize(
    ("verbosity", "shown"), [(Verbosity.QUIET, 0), (Verbosity.NORMAL, 0), (Verbosity.VERBOSE, 1)], ids=str
)
def test_quiet_and_verbose(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verbosity: Verbosity, shown: int
) -> None:
    """What went wrong is said in each of them."""
    registry = Registry(load_entry_points=False)
    with module.ProgressBar(registry, verbosity):
        send(registry)
    text = capsys.readouterr().err
    assert text.count(f"{K[1].id} compiled in 1.0 s, 10 B") == shown
    assert f"{K[2].id} does not compile" in text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (75.3, "1:15"), (3725, "1:02:05")])
def test_a_clock(seconds: float, text: str) -> None:
    assert module.clock(seconds) == text


def test_the_bar_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=out, force_terminal=True, width=80))
    registry = Registry(load_entry_points=False)
    with module.ProgressBar(registry) as bar:
        registry.hook.kregistry_plan_started(entries=0, target="h100")
        for kernel in K:
            registry.hook.kregistry_kernel_planned(kernel=kernel)
            registry.hook.kregistry_task_started(task=task_of(K.index(kernel)))
        registry.events.flush()
        Console(file=out, width=80).print(bar._bar())
    shown = re.sub(r"\x1b[^mKAlh]*[mKAlh]", "", out.getvalue()).splitlines()
    assert any("0/4 kernels" in each and "left" in each for each in shown)
    assert any(each.startswith(f"slowest: assembling {K[0].id}") and "(4 running)" in each for each in shown)
    assert max(map(len, shown)) <= 80
