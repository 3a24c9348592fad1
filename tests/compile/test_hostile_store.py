"""A store at a path that shells do not take literally: compilers run elsewhere, and their cubins get into the store."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from small_kernels import small_kernel

from kregistry.compile.pipeline import Pipeline
from kregistry.compile.shared.sharing_options import SharingOptions
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.errors import StorageError
from kregistry.event_bus import EventBus
from kregistry.scratch import is_literal
from kregistry.store import Store


def build(store: Store, cache: Path, nvcc: Path) -> list[str]:
    """What the compiler said of kernels that do not compile."""
    with Pipeline(EventBus(), store, JitCache(cache), nvcc, 1, SharingOptions(shared=False)) as pipeline:
        pipeline.add(small_kernel("a"))
        pipeline.finish()
    return [failed.output for failed in pipeline.record.failed]


def compiler(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("name", ['q"$(touch f)"', "a b", "a:b", "a;b", "größe"])
def test_compilers_get_literal_paths(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = tmp_path / "said"
    nvcc = compiler(tmp_path / "nvcc", f'printf "%s\\n" "$1" "$TMPDIR" >{said}\nexit 1')
    (failure,) = build(Store(tmp_path / name / "store"), tmp_path / name / "cache", nvcc)
    assert "exit code 1" in failure
    places = said.read_text().splitlines()
    assert len(places) == 2 and all(is_literal(place) for place in places)
    assert not list(tmp_path.glob("*kregistry-*"))


def test_a_compiler_on_a_full_disk_is_no_verdict(tmp_path: Path) -> None:
    nvcc = compiler(
        tmp_path / "nvcc", "echo 'kernel.cu(3): error: x'; echo 'cannot write: No space left on device'; exit 1"
    )
    store = Store(tmp_path / "store")
    with pytest.raises(StorageError, match="the disk is full"):
        build(store, tmp_path / "cache", nvcc)
    assert not list(store.directory.glob("broken/*/*"))
