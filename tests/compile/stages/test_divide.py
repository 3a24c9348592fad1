"""A group whose front end failed: each job gets one of its own, and the headers stay until the last has had it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from families import family_job

from kregistry.compile.costs import Costs
from kregistry.compile.schedule import Schedule
from kregistry.compile.shared.estimates import Estimates
from kregistry.compile.shared.groups import Group
from kregistry.compile.shared.kernel_family import KernelFamily
from kregistry.compile.shared.sizes import KernelSizes
from kregistry.compile.stages.divide import Divide


class Stage:
    def __init__(self, tmp_path: Path) -> None:
        self.schedule = Schedule(1)
        self.needed = 0
        self.not_shared: list[tuple[list[Any], str]] = []
        waiting: Any = SimpleNamespace(divided=self._divided)
        check: Any = SimpleNamespace(not_shared=lambda jobs, reason: self.not_shared.append((jobs, reason)))
        estimates = Estimates(Costs(tmp_path), KernelSizes(tmp_path))
        self.divide = Divide(self.schedule, waiting, check, estimates).divide

    def _divided(self, family: KernelFamily, change: int) -> None:
        self.needed += change


def test_each_job_gets_a_front_end(tmp_path: Path) -> None:
    """One that raises does not keep the headers either."""
    stage = Stage(tmp_path)
    jobs = [family_job(tmp_path, n) for n in (8, 16, 24)]
    ran: list[tuple[Group, int]] = []

    def again(group: Group) -> None:
        ran.append((group, stage.needed))
        if len(ran) == 3:
            raise ValueError("odd")

    stage.divide(jobs, "odd", again)
    assert (stage.needed, ran) == (3, [])
    stage.schedule.start()
    stage.schedule.close()
    assert ran == [(Group(job.member.family, (job,)), needed) for job, needed in zip(jobs, (3, 2, 1))]
    assert (stage.needed, stage.not_shared, type(stage.schedule.error)) == (0, [], ValueError)


def test_a_single_job_is_left_to_nvcc(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    job = family_job(tmp_path, 8)
    stage.divide([job], "odd", again=lambda group: None)
    assert (stage.needed, stage.not_shared) == (0, [([job], "odd")])
