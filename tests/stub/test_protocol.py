"""Jobs and events: each is one line, and the same on the other side."""

from __future__ import annotations

import pytest

from kregistry.stub.probed import Probed, ProbedLaunch, ProbedValue
from kregistry.stub.protocol import (
    Event,
    Job,
    KernelLoaded,
    ProbeJob,
    Ready,
    StartOrder,
    SweepJob,
    Swept,
    event_from_line,
    event_to_line,
    job_from_line,
    job_to_line,
)
from kregistry.stub.refusing import RefusalCause
from kregistry.stub.segments import Run
from kregistry.target import TARGETS

LAUNCH = ProbedLaunch("odd\nerror", (3, 3, 1), (), 1, 2, 3, nbytes=1 << 40)


@pytest.mark.parametrize(
    "job", [SweepJob("pickled", {"n": 8, "layout": "row", "splits": None}, 4, 70, 3), ProbeJob("p", {}, (0, 7))]
)
def test_jobs(job: Job) -> None:
    line = job_to_line(job)
    assert line.endswith("\n") and line.count("\n") == 1
    assert job_from_line(line) == job


@pytest.mark.parametrize(
    "event",
    [
        Ready(),
        KernelLoaded(7, "/home/é/kernel.cubin"),
        Swept(),
        Swept(
            (Run(1, 4, (0, 1)), Run(5, 9, ())),
            (Run(10, 12, RefusalCause("no\nreason", "x.py:3")),),
            "an error",
            False,
            True,
            True,
        ),
        Probed(),
        Probed((ProbedValue(0, "", LAUNCH, LAUNCH, LAUNCH, LAUNCH), ProbedValue(1, "refused")), "an error", False),
    ],
)
def test_events(event: Event) -> None:
    line = event_to_line(event)
    assert line.endswith("\n") and line.count("\n") == 1
    assert event_from_line(line) == event


def test_start_orders() -> None:
    order = StartOrder(TARGETS["b300"], ["/a", "/b c"])
    assert StartOrder.from_text(order.to_text()) == order


def test_libraries_become_the_ids_of_kernels() -> None:
    value = ProbedValue(1, "", LAUNCH).named({1: "one", 3: "three"})
    assert value.warm_up.kernels == ("three", "three", "one")
    assert (value.serving.kernels, value.warm_up.nbytes) == ((), 1 << 40)
