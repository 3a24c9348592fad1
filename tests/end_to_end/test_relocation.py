"""A store is the same store at any path, for a DeepGEMM at any path."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path

from compilers import copying_toolkit

from kregistry.toolchain import Toolchain
from tests.end_to_end.conftest import Workplace


def test_moved_store_and_moved_deep_gemm_compile_nothing(
    workplace: Workplace, small_manifest: Path, tmp_path: Path, toolchain: Toolchain, cubin: bytes
) -> None:
    cuda = str(copying_toolkit(tmp_path / "cuda", toolchain, cubin))
    first = workplace.kregistry("build", small_manifest, "--json", CUDA_HOME=cuda)
    out, err = first.communicate()
    assert first.returncode == 0, err
    built = json.loads(out)
    assert len(built["compiled"]) == built["kernels"]

    spec = importlib.util.find_spec("deep_gemm")
    assert spec is not None and spec.origin is not None
    elsewhere = tmp_path / "another" / "site"
    shutil.copytree(Path(spec.origin).parent, elsewhere / "deep_gemm")
    moved = Workplace(tmp_path / "moved", workplace.environment)
    moved.directory.mkdir()
    shutil.move(workplace.store, moved.store)
    path = os.pathsep.join(filter(None, (str(elsewhere), os.environ.get("PYTHONPATH"))))
    second = moved.kregistry("build", small_manifest, "--json", PYTHONPATH=path, CUDA_HOME=cuda)
    out, err = second.communicate()
    assert second.returncode == 0, err
    report = json.loads(out)
    assert report["compiled"] == []
    assert report["ready"] == report["kernels"] == built["kernels"]
    assert report["cache_entries_filled"] == built["kernels"]
