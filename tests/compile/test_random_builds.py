"""Whole builds of chance: each ends, each of its kernels ends once, and no cubin is used that nvcc would not make."""

from __future__ import annotations

from pathlib import Path

import pytest
from random_builds import RandomBuild


def _run(first: int, last: int, directory: Path, cubin: bytes) -> None:
    for seed in range(first, last):
        (directory / str(seed)).mkdir()
        RandomBuild(seed, directory / str(seed), cubin).run()


@pytest.mark.nvcc
def test_each_build_ends_and_so_does_each_kernel_once(tmp_path: Path, cubin: bytes) -> None:
    _run(0, 20, tmp_path, cubin)


@pytest.mark.nvcc
@pytest.mark.slow
def test_many_builds_end(tmp_path: Path, cubin: bytes) -> None:
    _run(20, 220, tmp_path, cubin)
