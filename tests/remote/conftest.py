"""A store with one kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from kregistry.kernel import Kernel
from kregistry.store import Store


@pytest.fixture
def full(tmp_path: Path, kernel: Kernel, cubin: bytes) -> Store:
    store = Store(tmp_path / "full")
    store.open()
    store.put(kernel, cubin, "nvcc", 1.0)
    return store
