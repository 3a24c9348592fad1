"""The real compiler on one kernel: what it makes, and what it says when it makes nothing."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest
from small_kernels import BROKEN, NO_KERNEL, small_kernel

from kregistry.compile.nvcc import Nvcc
from kregistry.errors import StorageError
from kregistry.store.cubin import single_kernel
from kregistry.toolchain import Toolchain


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.nvcc
def test_a_kernel_that_compiles(toolchain: Toolchain, tmp_path: Path) -> None:
    result = Nvcc(toolchain.cuda.nvcc).compile(small_kernel("k"), tmp_path / "scratch")
    assert single_kernel(result.cubin) == "good"
    assert result.failure == ""
    assert result.seconds > 0
    assert result.command.startswith(f"{toolchain.cuda.nvcc} {tmp_path}/scratch/kernel.cu -cubin -arch=sm_90a -o ")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_source_is_reported_in_the_compilers_words(toolchain: Toolchain, tmp_path: Path) -> None:
    result = Nvcc(toolchain.cuda.nvcc).compile(small_kernel("k", BROKEN), tmp_path / "scratch")
    assert 'error: identifier "undeclared_name" is undefined' in result.failure
    assert result.cubin == b""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.nvcc
def test_success_without_a_kernel_is_a_failure(toolchain: Toolchain, tmp_path: Path) -> None:
    result = Nvcc(toolchain.cuda.nvcc).compile(small_kernel("k", NO_KERNEL), tmp_path / "scratch")
    assert result.failure == (
        "the compiler reported success, but the cubin holds 0 kernels, but DeepGEMM loads only cubins with one"
    )


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("exit 3", "the compiler ended with exit code 3 and no message"),
        ("echo warning: odd", "warning: odd\nthe compiler reported success, but an empty file"),
        ("echo no memory >&2; kill -9 $$", "no memory"),
    ],
    ids=["silent", "without output", "killed"],
)
def test_a_compiler_that_misbehaves(tmp_path: Path, text: str, failure: str) -> None:
    result = Nvcc(script(tmp_path / "nvcc", text)).compile(small_kernel("k"), tmp_path / "scratch")
    assert result.failure == failure


def test_temporary_files_of_the_compiler_go_with_the_scratch_directory(tmp_path: Path) -> None:
    compiler = Nvcc(script(tmp_path / "nvcc", 'echo "$TMPDIR"; touch "$TMPDIR/left"; exit 1'))
    assert compiler.compile(small_kernel("k"), tmp_path / "scratch").failure == str(tmp_path / "scratch")
    assert [path.name for path in tmp_path.iterdir()] == ["nvcc"]


def test_stopping_ends_the_compiler_and_its_children(tmp_path: Path) -> None:
    started = tmp_path / "started"
    started.mkdir()
    compiler = Nvcc(script(tmp_path / "nvcc", f"sleep 600 & touch {started}/x; wait"))
    results = []
    thread = threading.Thread(target=lambda: results.append(compiler.compile(small_kernel("k"), tmp_path / "scratch")))
    thread.start()
    while not list(started.iterdir()):
        threading.Event().wait(0.01)
    compiler.stop()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert results[0].failure == f"the compiler ended with exit code {-signal.SIGKILL} and no message"
    assert compiler.compile(small_kernel("k"), tmp_path / "scratch").failure == "stopped"


def test_a_scratch_directory_that_cannot_be_written(toolchain: Toolchain, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        Nvcc(toolchain.cuda.nvcc).compile(small_kernel("k"), tmp_path / "file" / "scratch")


def test_a_compiler_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"/no/nvcc: No such file or directory"):
        Nvcc(Path("/no/nvcc")).compile(small_kernel("k"), tmp_path / "scratch")
