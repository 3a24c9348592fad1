"""The folders that ModelExpress publishes, and that KServe's KernelCache packs, are filled as docs/sharing.md says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result

from kregistry.compile import BuildReport
from kregistry.kernel import Kernel
from kregistry.store import Store

pytestmark = [pytest.mark.stub, pytest.mark.nvcc]


@pytest.mark.parametrize(
    ("engine", "variable", "root", "below"),
    [
        ("vllm", "VLLM_CACHE_ROOT", "io.vllm.cache", "deep_gemm"),
        ("vllm", "DG_JIT_CACHE_DIR", "jit", ""),
        ("sglang", "SGLANG_DG_CACHE_DIR", "jit", ""),
    ],
)
def test_the_folder_holds_every_kernel(
    kregistry: Callable[..., Result],
    tiny_file: Path,
    tiny_build: BuildReport,
    session_store: Store,
    kernel: Kernel,
    cubin: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    variable: str,
    root: str,
    below: str,
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / root))
    built = kregistry("build", tiny_file, "--engine", engine, "--store", session_store.directory)
    assert built.code == 0, built.err
    found = [path.relative_to(tmp_path / root) for path in (tmp_path / root).rglob(kernel.cubin_file)]
    assert found == [Path(below) / "cache" / kernel.cache_entry.name / kernel.cubin_file]
    assert (tmp_path / root / found[0]).read_bytes() == cubin
