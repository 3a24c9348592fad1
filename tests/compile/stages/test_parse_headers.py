"""Headers are parsed, and the sample of their family is run behind them first."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from families import family_job

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.costs import Cost
from kregistry.compile.schedule import Schedule
from kregistry.compile.shared.groups import Group, Groups, ToParse
from kregistry.compile.stages.parse_headers import ParseHeaders
from kregistry.compile.stages.waiting import Waiting
from kregistry.event_bus import EventBus


@pytest.mark.parametrize("fails", [False, True])
def test_the_headers_stay_until_the_sample_has_had_its_turn(tmp_path: Path, fails: bool) -> None:
    """Otherwise it would be lost: nvcc compiles it already, and nobody would hear of a shared front end any more."""
    estimates: Any = SimpleNamespace(cost=lambda job: Cost(1.0, 1.0, 1.0), parse_seconds=lambda name: 1.0)
    groups = Groups(estimates, 2)
    jobs = [family_job(tmp_path, n) for n in (8, 16)]
    for job in jobs:
        groups.add(job, 0.0)
    task = groups.take(0.0, 0.0)
    assert isinstance(task, ToParse) and task.first is not None
    groups.complete = True
    needed: list[bool] = []

    def run(group: Group) -> None:
        left = groups.take(10.0, 0.0)  # the other job, by another worker
        assert isinstance(left, Group) and group.jobs == (task.first,)
        needed.append(task.family in groups.needed())
        if fails:
            raise OSError("the disk is full")

    claim: Any = SimpleNamespace(take=lambda job, again: True)
    check: Any = SimpleNamespace(choose_samples=lambda found: found)
    pool: Any = SimpleNamespace(parse=lambda family: None, shrink=lambda kept: {})
    record = BuildRecord(EventBus().hook)
    parse = ParseHeaders(claim, check, Waiting(Schedule(1), groups), pool, run, record).parse
    if fails:
        with pytest.raises(OSError, match="full"):
            parse(task)
    else:
        parse(task)
    assert needed == [True]
    assert groups.needed() == set()
