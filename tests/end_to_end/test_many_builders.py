"""Builders on one store share the work: no error, and each kernel is compiled once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kregistry.plan import Plan
from kregistry.toolchain import find_cuda_toolkit
from tests.end_to_end.conftest import Workplace

BUILDERS = 8


def logging_toolkit(directory: Path, log: Path) -> Path:
    """The real toolkit behind an nvcc that writes a line for each compile, none for a question."""
    real = find_cuda_toolkit()
    (directory / "bin").mkdir(parents=True)
    (directory / "include").symlink_to(real.include)
    nvcc = directory / "bin" / "nvcc"
    nvcc.write_text(
        f'#!/bin/sh\ncase "$1" in --version|--dryrun) ;; *) head -c 400 "$1" | cksum >>"{log}" ;; esac\n'
        f'exec "{real.nvcc}" "$@"\n'
    )
    nvcc.chmod(0o755)
    return directory


@pytest.mark.slow
def test_eight_builders_on_an_empty_store(
    workplace: Workplace, small_plan: Plan, small_manifest: Path, tmp_path: Path
) -> None:
    log = tmp_path / "compiled"
    toolkit = logging_toolkit(tmp_path / "toolkit", log)
    builders = [
        workplace.kregistry(
            "build", small_manifest, "--json", "-j", "2", CUDA_HOME=str(toolkit), KREGISTRY_NO_SHARED_FRONT_END="1"
        )
        for _ in range(BUILDERS)
    ]
    reports = []
    for builder in builders:
        out, err = builder.communicate()
        assert builder.returncode == 0, err
        reports.append(json.loads(out))
    total = len(small_plan.kernels)
    assert [report["ready"] for report in reports] == [total] * BUILDERS
    assert sum(len(report["compiled"]) for report in reports) == total
    compiled = log.read_text().splitlines()
    assert len(compiled) == len(set(compiled)) == total


@pytest.mark.slow
def test_eight_builders_that_share_front_ends(workplace: Workplace, small_plan: Plan, small_manifest: Path) -> None:
    """Each kernel is compiled by one builder; what is compiled twice is at most one sample of each family."""
    builders = [workplace.kregistry("build", small_manifest, "--json", "-j", "2") for _ in range(BUILDERS)]
    reports = []
    for builder in builders:
        out, err = builder.communicate()
        assert builder.returncode == 0, err
        reports.append(json.loads(out))
    total = len(small_plan.kernels)
    assert [report["ready"] for report in reports] == [total] * BUILDERS
    compiled = [each["id"] for report in reports for each in report["compiled"]]
    assert sorted(compiled) == sorted(kernel.id for kernel in small_plan.kernels.values())
    sharing = [report["sharing"] for report in reports]
    assert sum(run["kernels"] for each in sharing for run in each["front_ends"]) > 0
    assert [each["different"] for each in sharing] == [[]] * BUILDERS
