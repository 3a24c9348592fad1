"""Estimates: seconds of the family by the size of the kernel, and what a build measured is there for the next one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from families import family_job

from kregistry.compile.costs import Cost, Costs
from kregistry.compile.job import Job
from kregistry.compile.shared.estimates import Estimates
from kregistry.compile.shared.sizes import KernelSizes
from kregistry.events.compiled import CompiledKernel


@pytest.fixture
def estimates(tmp_path: Path) -> Estimates:
    (tmp_path / "costs.json").write_text('{"gemm": [2.0, 0.5, 1.0]}')
    (tmp_path / "ptx_bytes.json").write_text('{"gemm": {"one": 100, "bytes": {"8": 100, "16": 300}}}')
    return Estimates(Costs(tmp_path), KernelSizes(tmp_path))


def test_a_large_kernel_of_a_family_takes_longer(estimates: Estimates, tmp_path: Path) -> None:
    job = family_job(tmp_path, 16)
    assert estimates.cost(job) == Cost(2.0, 1.5, 3.0)
    assert estimates.cost(Job(job.kernel)) == Cost(2.0, 0.5, 1.0)


def test_sizes_count_at_once(estimates: Estimates, tmp_path: Path) -> None:
    job = family_job(tmp_path, 24)
    estimates.learn_sizes([(job.member, 200)])
    assert estimates.cost(job) == Cost(2.0, 1.0, 2.0)


def test_a_build_teaches_the_next_one(estimates: Estimates, tmp_path: Path) -> None:
    """Seconds of a large kernel, as those of one of mean size."""
    job = family_job(tmp_path, 16)
    estimates.learn_sizes([(job.member, 300)])
    estimates.save([CompiledKernel(job.kernel, 13.0, 100)], [])  # expected 6.5
    assert json.loads((tmp_path / "costs.json").read_text())["gemm"] == [4.0, 1.0, 2.0]
    assert Estimates(Costs(tmp_path), KernelSizes(tmp_path)).cost(job) == Cost(4.0, 3.0, 6.0)
