"""Which way a job goes, and what is said of those that share nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from families import FLAGS, family_kernel
from small_kernels import small_kernel

from kregistry.compile.job import Job
from kregistry.compile.stages.route import Route
from kregistry.errors import MissingRequirement
from kregistry.kernel import Kernel


class Stages:
    """What the route sends where."""

    def __init__(self, verdict: str | Exception = "", given_up: str = "") -> None:
        self.waiting: list[Kernel] = []
        self.alone: list[Kernel] = []
        self.said: list[tuple[Kernel, str]] = []
        self.published: list[tuple[Job, Any]] = []
        self._verdict = verdict
        self._given_up = given_up

    def route(self, shared: bool = True) -> Route:
        def reason(family: object) -> str:
            if isinstance(self._verdict, Exception):
                raise self._verdict
            return self._verdict

        def put(job: Job, then: Callable[[Any], None]) -> None:
            self.alone.append(job.kernel)
            then("result")

        self_check: Any = SimpleNamespace(reason_not_shareable=reason)
        waiting: Any = SimpleNamespace(
            add=lambda job: self.waiting.append(job.kernel), reason_given_up=lambda family: self._given_up
        )
        record: Any = SimpleNamespace(not_shared=lambda kernel, reason: self.said.append((kernel, reason)))
        alone: Any = SimpleNamespace(put=put)
        return Route(shared, self_check, waiting, alone, self._publish, record)

    def _publish(self, job: Job, result: Any) -> None:
        self.published.append((job, result))


def test_a_kernel_of_a_family_waits_for_its_siblings(tmp_path: Path) -> None:
    kernel = family_kernel(tmp_path, 8)
    stages = Stages()
    stages.route().send(kernel)
    assert (stages.waiting, stages.alone, stages.said) == ([kernel], [], [])


@pytest.mark.parametrize(
    ("stages", "reason"),
    [
        (Stages("it made another kernel"), "it made another kernel"),
        (Stages(given_up="odd headers"), "odd headers"),
        (Stages(MissingRequirement("nvcc does not run")), "nvcc does not run"),
    ],
    ids=["verdict", "headers", "version"],
)
def test_a_family_that_shares_nothing(stages: Stages, reason: str, tmp_path: Path) -> None:
    kernel = family_kernel(tmp_path, 8)
    stages.route().send(kernel)
    assert (stages.waiting, stages.alone, stages.said) == ([], [kernel], [(kernel, reason)])
    assert stages.published == [(Job(kernel), "result")]


@pytest.mark.parametrize("flags", [("-cubin", "-arch=sm_90a"), (*FLAGS, "-G")], ids=["source", "flag"])
def test_a_kernel_that_is_not_understood(flags: tuple[str, ...]) -> None:
    kernel = small_kernel("a", flags=flags)
    stages = Stages()
    stages.route().send(kernel)
    ((said, reason),) = stages.said
    assert (stages.alone, said) == ([kernel], kernel) and reason


def test_nothing_is_said_where_nothing_is_shared(tmp_path: Path) -> None:
    kernel = family_kernel(tmp_path, 8)
    stages = Stages()
    stages.route(shared=False).send(kernel)
    assert (stages.waiting, stages.alone, stages.said) == ([], [kernel], [])
