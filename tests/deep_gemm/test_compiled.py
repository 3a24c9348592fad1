"""Kernels in DeepGEMM's cache directories."""

from __future__ import annotations

from pathlib import Path

from kregistry.deep_gemm.compiled import compiled_kernels


def test_every_directory_with_a_cubin_is_a_kernel(tmp_path: Path) -> None:
    for name in ("a/kernel.x.1", "a/kernel.y.2", "b/kernel.x.1"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "kernel.cubin").touch()
    (tmp_path / "a" / "kernel.z.3").mkdir()  # DeepGEMM is still compiling it
    places = [tmp_path / "a", tmp_path / "b", tmp_path / "none"]
    assert compiled_kernels(places) == {places[0] / "kernel.x.1", places[0] / "kernel.y.2", places[1] / "kernel.x.1"}
