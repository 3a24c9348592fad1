"""The progress bar: it counts what the events say; a log file gets only what went wrong."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from plans import K, planned
from rich.console import Console

from kregistry.cli import progress as module
from kregistry.compile import CompiledKernel, FailedKernel
from kregistry.registry import Registry
from kregistry.warm_up import Warmed, WarmedKernel


def send(registry: Registry) -> None:
    """A build of four kernels, and a warm-up."""
    hook = registry.hook
    hook.kregistry_plan_started(entries=2, target="h100")
    for kernel in K:
        hook.kregistry_kernel_planned(kernel=kernel)
    hook.kregistry_kernel_found(kernel=K[0])
    hook.kregistry_compile_started(kernel=K[1])
    hook.kregistry_compile_started(kernel=K[2])
    hook.kregistry_compile_started(kernel=K[3])
    hook.kregistry_kernel_compiled(kernel=K[1], compiled=CompiledKernel(K[1], 1.0, 10))
    hook.kregistry_kernel_failed(kernel=K[2], failed=FailedKernel(K[2], "nvcc", "odd"))
    hook.kregistry_entry_planned(entry=planned((1, 8, "0")))
    hook.kregistry_warmup_started(launches=2)
    for outcome in (Warmed.LOADED, Warmed.LEFT):
        warmed = WarmedKernel(planned((1, 8, "0")).entry, 4, ("k",), outcome, 10, "too large")
        hook.kregistry_kernel_warmed(warmed=warmed)


def tasks(bar: module.ProgressBar) -> dict[str, Any]:
    return {
        task.description: SimpleNamespace(done=task.completed, total=task.total, note=task.fields["note"])
        for task in bar._progress.tasks
    }


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    out = io.StringIO()
    monkeypatch.setattr(module, "Console", lambda **_: Console(file=out, force_terminal=True, width=120))
    return out


def test_it_counts_what_the_events_say(terminal: io.StringIO) -> None:
    registry = Registry(load_entry_points=False)
    with module.ProgressBar(registry) as bar:
        send(registry)
    found = tasks(bar)
    assert (found["planning"].done, found["planning"].total) == (1, 2)
    assert found["planning"].note == "entries for h100"
    assert (found["kernels"].done, found["kernels"].total, found["kernels"].note) == (3, 4, "1 running")
    assert (found["loading"].done, found["loading"].total) == (2, 2)
    text = terminal.getvalue()
    assert f"{K[2].id} does not compile" in text
    assert "left: model: sample" in text and "3/4" in text and "ETA" in text


def test_a_kernel_that_is_known_to_be_broken_was_not_compiled(
    terminal: io.StringIO,
) -> None:
    registry = Registry(load_entry_points=False)
    with module.ProgressBar(registry) as bar:
        send(registry)
        registry.hook.kregistry_kernel_failed(kernel=K[0], failed=FailedKernel(K[0], "nvcc", "odd", known=True))
    assert (tasks(bar)["kernels"].done, tasks(bar)["kernels"].note) == (4, "1 running")
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
        hook.kregistry_front_end_started(kernels=(K[0], K[1]))
        registry.events.flush()
        notes.append(tasks(bar)["kernels"].note)
        hook.kregistry_front_end_finished(kernels=(K[0], K[1]), seconds=2.0)
        hook.kregistry_front_end_not_shared(kernel=K[1], reason="uses counter")
        registry.events.flush()
        notes.append(tasks(bar)["kernels"].note)
        for kernel, found in ((K[0], ""), (K[1], difference)):
            hook.kregistry_compile_started(kernel=kernel)
            hook.kregistry_front_end_compared(kernel=kernel, difference=found)
        registry.events.flush()
        notes.append(tasks(bar)["kernels"].note)
        registry.events.flush()
        assert tasks(bar)["kernels"].done == 0
    assert notes == ["1 running", "0 running", "2 running"]
    captured = capsys.readouterr()
    assert captured.out == ""
    words = "a shared front end and nvcc alone make different kernels; nvcc's is used"
    assert captured.err == f"{K[1].id}: {words}: {difference}\n"
