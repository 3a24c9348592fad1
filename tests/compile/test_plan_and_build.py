"""Plan and build in one go, with the real planner and the real compiler."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_kernel_types import Prenorm, Raises

from kregistry import KernelType, Registry, hookimpl
from kregistry.compile import BuildReport
from kregistry.compile.plan_and_build import build_kernels
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.errors import StorageError
from kregistry.manifest import Manifest
from kregistry.manifest.document import parse_document
from kregistry.manifest.reader import read_manifest
from kregistry.store import Store
from kregistry.toolchain import Toolchain
from kregistry.verify import verify_kernels


def test_the_tiny_build_is_complete(tiny_build: BuildReport, session_store: Store) -> None:
    assert (tiny_build.total, tiny_build.ready, tiny_build.found, tiny_build.filled) == (1, 1, 0, 1)
    assert tiny_build.failed == ()
    tiny_build.raise_problems()
    jit_cache = JitCache(Path(tiny_build.cache_directory))
    assert verify_kernels(tiny_build.plan.kernels.values(), session_store, jit_cache).faults == ()


def test_building_again_compiles_nothing(
    tiny_build: BuildReport, tiny_manifest: Manifest, session_store: Store, toolchain: Toolchain, tmp_path: Path
) -> None:
    """Also with another JIT cache, and although a second entry of the manifest cannot be planned everywhere."""

    class Plugin:
        @hookimpl
        def kregistry_kernel_types(self) -> list[KernelType]:
            return [Prenorm(), Raises()]

    registry = Registry()
    registry.register(Plugin(), "samples")
    text = """
version: 1
target: h100
models:
  tiny:
    kernels:
      - {type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 256}, m: {stop: 4}}
      - {type: raises, shape: {}, m: {stop: 4}}
"""
    manifest = read_manifest(parse_document(text, "k.yaml"), registry)
    report = build_kernels(manifest, registry, store=session_store, jit_cache=JitCache(tmp_path), toolchain=toolchain)
    assert (report.compiled, report.ready, report.filled) == ((), 1, 1)
    assert report.cache_directory == str(tmp_path)
    (problem,) = report.plan.problems()
    assert problem.startswith("tiny: raises n=24: the kernel type (") and "sample_kernel_types.py:" in problem
    assert problem.endswith(" refuses m 3..4: ValueError: too much")


def test_a_store_that_cannot_be_written_is_reported_before_anything_is_planned(
    tiny_manifest: Manifest, registry: Registry, toolchain: Toolchain, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as caught:
        build_kernels(tiny_manifest, registry, store=Store(tmp_path / "file" / "store"), toolchain=toolchain)
    hint = "hint: a file is where a directory should be: remove it"
    assert str(caught.value) == f"{tmp_path}/file/store/kernels: Not a directory\n{hint}"
