"""Filling the JIT cache: an early kernel only once it is confirmed, each entry once, also after a failure."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from small_kernels import small_kernel

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.stages.fill import Fill
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.errors import StorageError
from kregistry.event_bus import EventBus
from kregistry.store import Store

PLANNED = small_kernel("planned")
EARLY = evolve(PLANNED, cache_entry=Path(), files={})


def test_an_early_kernel_fills_the_entries_of_those_that_are_confirmed(
    store: Store, tmp_path: Path, cubin: bytes
) -> None:
    store.open()
    stored = store.put(PLANNED, cubin, "nvcc", 1.0)
    jit = JitCache(tmp_path / "jit")
    fill = Fill(jit, BuildRecord(EventBus().hook))
    fill.fill(EARLY, stored)
    assert not (tmp_path / "jit").exists()
    other = evolve(PLANNED, cache_entry=Path(".deep_gemm/cache/kernel.other.0"))
    for each in (PLANNED, other):
        fill.confirm(each)
    fill.fill(EARLY, stored)
    assert [jit.fault(each, stored) for each in (PLANNED, other)] == [None, None]
    assert fill._record.filled == 2
    fill.fill(EARLY, stored)
    assert fill._record.filled == 2


def test_what_could_not_be_filled_is_filled_later(store: Store, tmp_path: Path, cubin: bytes) -> None:
    """As when `kregistry gc` removes the kernel between two steps of a build."""
    store.open()
    stored = store.put(PLANNED, cubin, "nvcc", 1.0)
    (tmp_path / "jit").touch()
    jit = JitCache(tmp_path / "jit")
    fill = Fill(jit, BuildRecord(EventBus().hook))
    fill.confirm(PLANNED)
    with pytest.raises(StorageError):
        fill.fill(EARLY, stored)
    (tmp_path / "jit").unlink()
    fill.fill(EARLY, stored)
    assert jit.fault(PLANNED, stored) is None
