"""A lock file with the kernel of the session's build."""

from __future__ import annotations

from pathlib import Path

import pytest

from kregistry.compile import BuildReport
from kregistry.plan.lock import write_lock
from kregistry.toolchain import Toolchain


@pytest.fixture
def lock(tiny_build: BuildReport, toolchain: Toolchain, tmp_path: Path) -> Path:
    path = tmp_path / "kernels.lock"
    write_lock(tiny_build.plan, path, toolchain.cuda.compiler)
    return path
