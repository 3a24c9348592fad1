"""What the tests of shared front ends build with."""

from __future__ import annotations

from pathlib import Path

import pytest
from builds import Build

from kregistry.store import Store
from kregistry.toolchain import Toolchain


@pytest.fixture
def build(store: Store, toolchain: Toolchain, tmp_path: Path) -> Build:
    return Build(store, toolchain.cuda.nvcc, tmp_path)
