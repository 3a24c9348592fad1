"""Remote tiers in a build: what one machine compiles no other one does, and no tier can make a build fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from memory_tier import MemoryTier
from small_kernels import BROKEN, small_kernel

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.pipeline import Pipeline
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.errors import StorageError
from kregistry.event_bus import EventBus
from kregistry.kernel import Kernel
from kregistry.remote.chain import Chain
from kregistry.remote.tier import Tier
from kregistry.store import Store

pytestmark = [pytest.mark.stub, pytest.mark.nvcc]
KERNELS = [small_kernel(f"k{number}") for number in range(20)]


@pytest.fixture
def copying(tmp_path: Path, cubin: bytes) -> Path:
    """A compiler that gives a real cubin for every source, at once, and counts its runs."""
    (tmp_path / "real.cubin").write_bytes(cubin)
    path = tmp_path / "copying-nvcc"
    lines = ["#!/bin/sh", f"echo >> {tmp_path}/runs", 'while [ "$1" != -o ]; do shift; done']
    path.write_text("\n".join([*lines, f'cp {tmp_path}/real.cubin "$2"\n']))
    path.chmod(0o755)
    return path


def build(place: Path, nvcc: Path, kernels: list[Kernel], *tiers: Tier, required: bool = False) -> BuildRecord:
    jit = JitCache(place / "jit")
    chain = Chain(tiers, required=required)
    with Pipeline(EventBus(), Store(place / "store"), jit, nvcc, 2, remote=chain) as pipeline:
        for kernel in kernels:
            pipeline.add(kernel)
        pipeline.finish()
    assert all(jit.cubin(kernel).is_file() for kernel in kernels)
    return pipeline.record


def test_the_second_machine_compiles_nothing(tmp_path: Path, copying: Path) -> None:
    tier = MemoryTier()
    first = build(tmp_path / "a", copying, KERNELS, tier)
    assert (len(first.compiled), first.found, len(tier.objects)) == (20, 0, 20)
    (tmp_path / "runs").unlink()
    second = build(tmp_path / "b", copying, KERNELS, tier)
    assert (second.compiled, second.found, second.filled) == ([], 20, 20)
    assert not (tmp_path / "runs").exists()


def test_a_broken_tier_costs_only_its_kernels(tmp_path: Path, copying: Path) -> None:
    record = build(tmp_path, copying, KERNELS, MemoryTier(broken=True))
    assert (len(record.compiled), record.failed) == (20, [])


def test_what_a_read_only_tier_lacks_is_compiled_and_not_written(tmp_path: Path, copying: Path) -> None:
    tier = MemoryTier()
    build(tmp_path / "a", copying, KERNELS[:7], tier)
    tier.read_only = True
    record = build(tmp_path / "b", copying, KERNELS, tier)
    assert (len(record.compiled), record.found, len(tier.objects)) == (13, 7, 7)


def test_a_required_tier_that_fails_ends_the_build(tmp_path: Path, copying: Path) -> None:
    with pytest.raises(StorageError, match="memory: no answer"):
        build(tmp_path, copying, KERNELS, MemoryTier(broken=True), required=True)


def test_a_kernel_that_does_not_compile_is_not_written(tmp_path: Path) -> None:
    nvcc = tmp_path / "nvcc"
    nvcc.write_text("#!/bin/sh\necho 'kernel.cu(1): error: no'\nexit 2\n")
    nvcc.chmod(0o755)
    tier = MemoryTier()
    with Pipeline(EventBus(), Store(tmp_path / "store"), JitCache(tmp_path), nvcc, 2, remote=Chain([tier])) as pipeline:
        pipeline.add(small_kernel("broken", BROKEN))
        pipeline.finish()
    assert (len(pipeline.record.failed), tier.objects) == (1, {})
