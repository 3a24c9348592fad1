"""Groups: headers first, then groups large enough to be worth a front end, small enough to keep all workers busy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from families import family_job

from kregistry.compile.costs import Costs
from kregistry.compile.shared.estimates import Estimates
from kregistry.compile.shared.family_job import FamilyJob
from kregistry.compile.shared.groups import Group, Groups, ToParse
from kregistry.compile.shared.kernel_family import KernelFamily
from kregistry.compile.shared.sizes import KernelSizes


def estimates(tmp_path: Path) -> Estimates:
    return Estimates(Costs(tmp_path), KernelSizes(tmp_path))


def groups(tmp_path: Path, workers: int, count: int) -> Groups:
    """Kernels that take 2 s to parse, 0.5 s to start behind parsed headers, to generate and to assemble."""
    (tmp_path / "costs.json").write_text('{"gemm": [2.0, 0.5, 0.5]}')
    made = Groups(estimates(tmp_path), workers)
    for job in jobs(tmp_path, count):
        made.add(job, now=100.0)
    return made


def jobs(tmp_path: Path, count: int) -> list[FamilyJob]:
    return [family_job(tmp_path, n) for n in range(count)]


def parsed(made: Groups) -> KernelFamily:
    """One kernel goes with its headers."""
    task = made.take(100.0, 0.0)
    assert isinstance(task, ToParse)
    made.parsed(task.family)
    return task.family


def sizes(made: Groups) -> list[int]:
    """Groups that free workers take one after the other, none of them done yet."""
    found, other = [], 0.0
    while isinstance(group := made.take(100.0, other), Group):
        found.append(len(group.jobs))
        other += 0.5 + len(group.jobs)
    assert group is None
    return found


@pytest.mark.parametrize(("workers", "count", "largest"), [(1, 20, 19), (2, 70, 33), (16, 70, 8), (16, 300, 20)])
def test_how_large_groups_are(tmp_path: Path, workers: int, count: int, largest: int) -> None:
    made = groups(tmp_path, workers, count)
    made.complete = True
    parsed(made)
    found = sizes(made)
    assert sum(found) == count - 1
    assert abs(max(found) - largest) <= largest // 4, found
    assert min(found) * 1.0 * 0.12 >= 0.5  # the start is at most this much of the kernels' own work


def test_headers_are_parsed_for_two_kernels_and_once(tmp_path: Path) -> None:
    made = groups(tmp_path, 16, 1)
    assert made.take(100.0, 0.0) is None
    first, second, third = jobs(tmp_path, 3)
    made.add(second, now=101.0)
    assert made.take(101.0, 0.0) == ToParse(first.member.family, first, 2.0, "gemm")
    made.add(third, now=102.0)
    assert made.take(200.0, 0.0) is None and made.next_due() is None
    made.parsed(first.member.family)
    assert made.take(102.0, 0.0) == Group(first.member.family, (third, second))
    assert made.next_due() is None


def test_the_cheapest_kernel_goes_with_the_headers(tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text('{"gemm": [2.0, 0.5, 0.5], "small": [2.0, 0.1, 0.1]}')
    made = Groups(estimates(tmp_path), 2)
    cheap = family_job(tmp_path, 2, name="small")
    for job in (family_job(tmp_path, 1), cheap):
        made.add(job, now=100.0)
    task = made.take(100.0, 0.0)
    assert isinstance(task, ToParse) and task.first == cheap


@pytest.mark.parametrize(
    ("known", "smallest", "others"),
    [
        # Nothing is known of 128: its size is 1.
        ('{"gemm": {"one": 500, "bytes": {"64": 900, "16": 200, "8": 700, "32": 100}}}', 32, [64, 8, 128, 16]),
        # Where no size is known, the largest tiles; numbers are compared as numbers.
        ("{}", 8, [128, 64, 32, 16]),
    ],
    ids=["by size", "by tile"],
)
def test_the_largest_come_first(tmp_path: Path, known: str, smallest: int, others: list[int]) -> None:
    (tmp_path / "ptx_bytes.json").write_text(known)
    made = groups(tmp_path, 1, 0)
    for n in (64, 16, 8, 32, 128):
        made.add(family_job(tmp_path, n), now=100.0)
    task = made.take(100.0, 0.0)
    assert isinstance(task, ToParse) and task.first.member.arguments == (str(smallest),)
    made.parsed(task.family)
    group = made.take(100.0, 0.0)
    assert isinstance(group, Group)
    assert [job.member.arguments for job in group.jobs] == [(str(n),) for n in others]


def test_an_urgent_job_is_taken_first_and_by_itself(tmp_path: Path) -> None:
    """Before the headers of its family are parsed, after that, and if it is added later."""
    made = groups(tmp_path, 16, 0)
    first, second, third, fourth, fifth = jobs(tmp_path, 5)
    for job in (first, second, third, fourth):
        made.add(job, now=100.0)
    made.first([second.kernel.key])
    family = first.member.family
    assert made.take(100.0, 0.0) == Group(family, (second,))
    task = made.take(100.0, 0.0)
    assert isinstance(task, ToParse)
    made.first([fourth.kernel.key, fifth.kernel.key])
    assert made.take(100.0, 0.0) == Group(family, (fourth,))  # nor does it wait for the headers
    made.add(fifth, now=100.0)
    assert made.take(100.0, 0.0) == Group(family, (fifth,))
    assert made.take(100.0, 0.0) is None


def test_large_kernels_are_in_smaller_groups(tmp_path: Path) -> None:
    (tmp_path / "ptx_bytes.json").write_text(
        json.dumps({"gemm": {"one": 3550, "bytes": {str(n): 100 * n for n in range(1, 71)}}})
    )
    made = groups(tmp_path, 16, 0)
    made.complete = True
    for n in range(1, 71):
        made.add(family_job(tmp_path, n), now=100.0)
    parsed(made)
    found = sizes(made)
    assert sum(found) == 69 and found[0] < found[-1], found
    assert found == sorted(found), found


def test_a_kernel_without_company_waits_for_it_a_while(tmp_path: Path) -> None:
    made = groups(tmp_path, 16, 1)
    assert made.take(104.9, 0.0) is None
    assert made.next_due() == 105.0
    group = made.take(105.0, 0.0)
    assert isinstance(group, Group) and len(group.jobs) == 1
    assert made.next_due() is None


def test_it_does_not_wait_when_no_more_will_come(tmp_path: Path) -> None:
    made = groups(tmp_path, 2, 1)
    made.complete = True
    assert sizes(made) == [1]


def test_nor_behind_parsed_headers(tmp_path: Path) -> None:
    made = groups(tmp_path, 2, 2)
    parsed(made)
    assert sizes(made) == [1]
    made.add(jobs(tmp_path, 1)[0], now=100.0)
    assert sizes(made) == [1]


def test_headers_that_had_to_go_are_parsed_again(tmp_path: Path) -> None:
    made = groups(tmp_path, 2, 3)
    made.not_parsed(parsed(made))
    assert isinstance(made.take(100.0, 0.0), ToParse)


def test_no_more_headers_are_parsed_than_there_are_workers(tmp_path: Path) -> None:
    """Else two families could take the room from each other for ever."""
    made = groups(tmp_path, 1, 3)
    others = [family_job(tmp_path, n, flags=("-cubin", "-arch=sm_90a", "-O2")) for n in range(2)]
    for job in others:
        made.add(job, now=100.0)
    family = jobs(tmp_path, 1)[0].member.family
    assert parsed(made) == family and made.needed() == {family}
    group = made.take(100.0, 0.0)
    assert isinstance(group, Group) and group.family == family
    assert made.needed() == set()
    assert parsed(made) == others[0].member.family


def test_headers_of_a_divided_group_stay(tmp_path: Path) -> None:
    made = groups(tmp_path, 1, 3)
    family = parsed(made)
    assert isinstance(made.take(100.0, 0.0), Group) and made.needed() == set()
    made.divided(family, 2)
    for n in range(2):
        made.add(family_job(tmp_path, n, flags=("-cubin", "-arch=sm_90a", "-O2")), now=100.0)
    for _ in range(2):
        assert made.needed() == {family} and made.take(100.0, 0.0) is None
        made.divided(family, -1)
    assert made.needed() == set() and isinstance(made.take(100.0, 0.0), ToParse)


def test_kernels_whose_headers_cannot_be_parsed(tmp_path: Path) -> None:
    made = groups(tmp_path, 2, 3)
    task = made.take(100.0, 0.0)
    assert isinstance(task, ToParse)
    assert [task.first, *made.give_up(task.family)] == jobs(tmp_path, 3)
    assert made.take(200.0, 0.0) is None and made.seconds() == 0.0


def test_the_family_with_most_work_comes_first(tmp_path: Path) -> None:
    made = groups(tmp_path, 2, 2)
    many = [family_job(tmp_path, n, flags=("-cubin", "-arch=sm_90a", "-O2")) for n in range(3)]
    for job in many:
        made.add(job, now=100.0)
    assert {parsed(made), parsed(made)} == {many[0].member.family, jobs(tmp_path, 1)[0].member.family}
    first = made.take(100.0, 0.0)
    assert isinstance(first, Group) and first.family == many[0].member.family


def test_large_jobs_wait_for_their_headers_too(tmp_path: Path) -> None:
    """On 16 cores, 14 of them that parsed the same headers took 178 core seconds for what takes 131 behind headers."""
    made = groups(tmp_path, 4, 8)
    task = made.take(100.0, 0.0)
    assert isinstance(task, ToParse)
    assert made.take(100.0, 0.0) is None
    made.parsed(task.family)
    assert isinstance(made.take(102.0, 0.0), Group)


def test_headers_are_taken_without_groups(tmp_path: Path) -> None:
    """While the first jobs are being collected: they are needed whichever jobs come."""
    made = groups(tmp_path, 2, 1)
    assert made.take_headers() is None
    made.add(jobs(tmp_path, 2)[1], now=100.0)
    task = made.take_headers()
    assert task == ToParse(jobs(tmp_path, 1)[0].member.family, jobs(tmp_path, 1)[0], 2.0, "gemm")
    made.parsed(task.family)
    assert made.take_headers() is None


def test_headers_of_expected_jobs_are_parsed_before_they_are_known(tmp_path: Path) -> None:
    """Once; a job that comes meanwhile waits for them, even if it stays the only one."""
    made = groups(tmp_path, 4, 0)
    job, later = jobs(tmp_path, 2)
    family = job.member.family
    made.expect(family, "gemm")
    assert made.take(100.0, 0.0) == ToParse(family, None, 2.0, "gemm")
    made.add(job, now=100.5)
    assert made.take(100.5, 0.0) is None and made.next_due() is None
    made.parsed(family)
    assert made.take(102.0, 0.0) == Group(family, (job,))
    made.add(later, now=103.0)
    assert made.take(103.0, 0.0) == Group(family, (later,))
