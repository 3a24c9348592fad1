"""Jobs that wait: headers make room for others, families that are given up, and headers of divided groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from families import FLAGS, family_job

from kregistry.compile.costs import Costs
from kregistry.compile.schedule import Schedule
from kregistry.compile.shared.estimates import Estimates
from kregistry.compile.shared.groups import Group, Groups, ToParse
from kregistry.compile.shared.kernel_family import KernelFamily
from kregistry.compile.shared.sizes import KernelSizes
from kregistry.compile.stages.waiting import Waiting

LATER = 1e9


class Headers:
    closed = False

    def close(self) -> None:
        self.closed = True


class Pool:
    """Keeps one front end, and takes out any other that is not needed."""

    def __init__(self) -> None:
        self.kept: dict[KernelFamily, Headers] = {}

    def shrink(self, needed: Collection[KernelFamily]) -> Mapping[KernelFamily, Headers]:
        spare = [family for family in self.kept if family not in needed]
        return {family: self.kept.pop(family) for family in spare[: max(0, len(self.kept) - 1)]}


@pytest.fixture
def groups(tmp_path: Path) -> Groups:
    return Groups(Estimates(Costs(tmp_path), KernelSizes(tmp_path)), 1)


@pytest.fixture
def waiting(groups: Groups) -> Waiting:
    return Waiting(Schedule(1), groups)


def parse(groups: Groups, waiting: Waiting, pool: Any) -> KernelFamily:
    task = groups.take(LATER, 0.0)
    assert isinstance(task, ToParse)
    pool.kept[task.family] = Headers()
    waiting.headers_parsed(task.family, pool)
    return task.family


def test_parsed_headers_make_room_for_others(groups: Groups, waiting: Waiting, tmp_path: Path) -> None:
    """The first family's are parsed again for the next of its jobs."""
    pool = Pool()
    for n in (8, 16):
        waiting.add(family_job(tmp_path, n))
    first = parse(groups, waiting, pool)
    assert isinstance(groups.take(LATER, 0.0), Group)
    headers = pool.kept[first]
    for n in (8, 16):
        waiting.add(family_job(tmp_path, n, flags=(*FLAGS, "-DOTHER")))
    other = parse(groups, waiting, pool)
    assert (headers.closed, list(pool.kept), pool.kept[other].closed) == (True, [other], False)
    assert isinstance(groups.take(LATER, 0.0), Group)
    for n in (24, 32):
        waiting.add(family_job(tmp_path, n))
    assert parse(groups, waiting, pool) == first


def test_a_family_that_is_given_up(groups: Groups, waiting: Waiting, tmp_path: Path) -> None:
    jobs = [family_job(tmp_path, n) for n in (8, 16, 24)]
    for job in jobs:
        waiting.add(job)
    task = groups.take(LATER, 0.0)
    assert isinstance(task, ToParse) and waiting.reason_given_up(task.family) == ""
    assert [task.first, *waiting.give_up(task.family, "odd headers")] == jobs
    assert waiting.reason_given_up(task.family) == "odd headers"
    assert groups.take(LATER, 0.0) is None


def test_headers_of_a_divided_group_are_needed(groups: Groups, waiting: Waiting, tmp_path: Path) -> None:
    for n in (8, 16):
        waiting.add(family_job(tmp_path, n))
    family = parse(groups, waiting, Pool())
    assert isinstance(groups.take(LATER, 0.0), Group) and groups.needed() == set()
    waiting.divided(family, 2)
    waiting.divided(family, -1)
    assert groups.needed() == {family}
    waiting.divided(family, -1)
    assert groups.needed() == set()


def test_nothing_waits_for_a_sibling_when_planning_has_ended(groups: Groups, waiting: Waiting, tmp_path: Path) -> None:
    waiting.add(family_job(tmp_path, 8))
    assert groups.take(0.0, 0.0) is None and (groups.next_due() or 0.0) > 0.0
    waiting.complete()
    assert isinstance(groups.take(LATER, 0.0), Group)
