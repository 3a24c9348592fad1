"""Kernels that DeepGEMM compiles while a process watches its cache directories."""

from __future__ import annotations

import os
from pathlib import Path

from kregistry.deep_gemm.compiled import CompileWatch


def _compile(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "kernel.cubin").touch()
    return directory


def test_only_what_is_compiled_after_the_start_counts(tmp_path: Path) -> None:
    _compile(tmp_path / "a" / "kernel.x.1")
    watch = CompileWatch([tmp_path / "a", tmp_path / "none"])
    assert watch.compiled() == set()
    new, first = _compile(tmp_path / "a" / "kernel.y.2"), _compile(tmp_path / "none" / "kernel.x.1")
    assert watch.compiled() == {new, first}


def test_a_directory_counts_once_it_holds_a_cubin(tmp_path: Path) -> None:
    unfinished = tmp_path / "kernel.z.3"
    unfinished.mkdir()
    os.utime(unfinished, ns=(0, 0))  # longer ago than the file system's clock ticks
    watch = CompileWatch([tmp_path])
    (tmp_path / "kernel.q.4").mkdir()  # DeepGEMM is still compiling it
    assert watch.compiled() == set()
    assert _compile(unfinished) in watch.compiled()


def test_one_directory_that_vanishes_does_not_hide_the_others(tmp_path: Path) -> None:
    watch = CompileWatch([tmp_path / "a"])
    new = _compile(tmp_path / "a" / "kernel.x.1")
    (tmp_path / "a" / "kernel.gone.2").symlink_to("nowhere")
    assert new in watch.compiled()
