"""Parts of a build: every kernel in exactly one, in the same way on every machine."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from small_kernels import small_kernel

from kregistry.compile.shard import Shard
from kregistry.errors import InputError

KERNELS = [small_kernel(f"{family}") for family in "abc"] + [small_kernel("gemm", f"// {n}") for n in range(40)]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
def test_every_kernel_is_in_exactly_one_part(count: int) -> None:
    parts = [Shard(index, count).part(KERNELS) for index in range(1, count + 1)]
    assert sorted(kernel.key for part in parts for kernel in part) == sorted(kernel.key for kernel in KERNELS)
    assert max(map(len, parts)) <= len(KERNELS) / count + 2


def test_the_order_of_the_kernels_does_not_matter() -> None:
    assert Shard(2, 3).part(KERNELS) == Shard(2, 3).part(reversed(KERNELS))


def test_a_family_stays_together_as_far_as_it_can() -> None:
    parts = [{kernel.name for kernel in Shard(index, 4).part(KERNELS)} for index in range(1, 5)]
    assert sum("a" in part for part in parts) == sum("b" in part for part in parts) == 1


def test_no_kernels_make_an_empty_part() -> None:
    assert Shard(1, 2).part([]) == []


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"JOB_COMPLETION_INDEX": "0", "KREGISTRY_SHARD_COUNT": "4"}, "1/4"),
        ({"CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "3"}, "2/3"),
        ({"CIRCLE_NODE_INDEX": "2", "CIRCLE_NODE_TOTAL": "3"}, "3/3"),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, "2/2"),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, "2/2"),
        (
            {
                "SLURM_PROCID": "0",
                "SLURM_NTASKS": "1",
                "SLURM_ARRAY_TASK_ID": "14",
                "SLURM_ARRAY_TASK_MIN": "10",
                "SLURM_ARRAY_TASK_STEP": "2",
                "SLURM_ARRAY_TASK_COUNT": "4",
            },
            "3/4",
        ),
    ],
)
def test_schedulers(environment: Mapping[str, str], expected: str) -> None:
    assert str(Shard.parse("auto", environment)) == expected


@pytest.mark.parametrize(
    ("text", "environment", "found"),
    [
        ("0/3", {}, "there is no part 0 of 3"),
        ("4/3", {}, "there is no part 4 of 3"),
        ("1/0", {}, "there is no part 1 of 0"),
        ("3", {}, "expected I/N or auto"),
        ("-1/3", {}, "expected I/N or auto"),
        ("1/9999999", {}, "expected I/N or auto"),
        ("auto", {}, "no scheduler has set its variables"),
        ("auto", {"JOB_COMPLETION_INDEX": "1"}, "JOB_COMPLETION_INDEX is set, and KREGISTRY_SHARD_COUNT is not"),
        ("auto", {"SLURM_PROCID": "x", "SLURM_NTASKS": "2"}, "SLURM_PROCID='x' is not a number"),
        ("auto", {"SLURM_PROCID": "2", "SLURM_NTASKS": "2"}, "there is no part 3 of 2"),
    ],
)
def test_wrong_parts(text: str, environment: Mapping[str, str], found: str) -> None:
    with pytest.raises(InputError) as caught:
        Shard.parse(text, environment)
    assert found in str(caught.value)
