"""Groups: large enough to save parsing, small enough to keep all workers busy, closed when waiting is over."""

from __future__ import annotations

from pathlib import Path

import pytest
from families import family_kernel

from kregistry.build.costs import Costs
from kregistry.build.front_end.family import member_of
from kregistry.build.front_end.groups import Groups


def groups(tmp_path: Path, workers: int, count: int) -> Groups:
    """Kernels that take 2 s to parse, 0.5 s to generate and 0.5 s to assemble."""
    (tmp_path / "costs.json").write_text('{"gemm": [2.0, 0.5, 0.5]}')
    made = Groups(Costs(tmp_path), workers)
    for n in range(count):
        made.add(member_of(family_kernel(tmp_path, n)), now=100.0)
    return made


def sizes(made: Groups) -> list[int]:
    """Groups that free workers take one after the other, none of them done yet."""
    found, other = [], 0.0
    while (group := made.take(100.0, other)) is not None:
        found.append(len(group.members))
        other += 2.0 + len(group.members)
    return found


@pytest.mark.parametrize(("workers", "count", "expected"), [(1, 20, 1), (2, 70, 2), (16, 70, 10)])
def test_how_many_front_ends(tmp_path: Path, workers: int, count: int, expected: int) -> None:
    made = groups(tmp_path, workers, count)
    made.complete = True
    found = sizes(made)
    assert sum(found) == count
    assert abs(len(found) - expected) <= expected // 2, found
    assert min(found[:-1], default=count) * 1.0 * 0.3 >= 2.0  # parsing is at most this much of the kernels' own work


def test_few_kernels_wait_for_more(tmp_path: Path) -> None:
    made = groups(tmp_path, 16, 3)
    assert made.take(104.9, 0.0) is None
    assert made.next_due() == 105.0
    group = made.take(105.0, 0.0)
    assert group is not None and len(group.members) == 3
    assert made.next_due() is None


def test_nothing_waits_when_no_more_will_come(tmp_path: Path) -> None:
    made = groups(tmp_path, 2, 3)
    made.complete = True
    assert sizes(made) == [3]


@pytest.mark.parametrize(("workers", "wait"), [(16, 2.0 / 12), (4, 2.0 / 2), (2, 5.0)])
def test_enough_kernels_wait_as_cores_are_idle_while_the_dry_run_goes_on(
    tmp_path: Path, workers: int, wait: float
) -> None:
    made = groups(tmp_path, workers, 30)
    assert made.next_due() == 100.0 + wait
    assert made.take(100.0, 0.0) is None
    assert made.take(100.0 + wait, 0.0) is not None
