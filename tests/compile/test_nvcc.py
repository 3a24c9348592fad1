"""The real compiler on one kernel: what it makes, and what it says when it makes nothing."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from small_kernels import BROKEN, NO_KERNEL, small_kernel

from kregistry.compile import nvcc as module
from kregistry.compile.nvcc import Nvcc
from kregistry.errors import StorageError
from kregistry.events import FailedKernel
from kregistry.store.cubin import single_kernel
from kregistry.store.failures import was_interrupted
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


@pytest.mark.parametrize("descriptors", [True, False], ids=["", "a kernel without descriptors of processes"])
def test_a_compiler_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, descriptors: bool) -> None:
    """With its children, and that says nothing about the kernel."""
    monkeypatch.setattr(module, "LIMIT_SECONDS", 0.2)
    if not descriptors:

        def refuse(pid: int) -> int:
            raise OSError("Function not implemented")

        monkeypatch.setattr(module.os, "pidfd_open", refuse)
    compiler = Nvcc(script(tmp_path / "nvcc", f"echo said; sleep 600 & echo $! >{tmp_path}/child; wait"))
    kernel = small_kernel("k")
    failure = compiler.compile(kernel, tmp_path / "scratch").failure
    assert failure == "said\n\nkilled: it had not ended after 0 s"
    assert was_interrupted(FailedKernel(kernel, "nvcc", failure))


def test_what_a_compiler_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    """The server of a compiler cache lives on, with the compiler's output open."""
    wait = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; touch {tmp_path}/gone"
    compiler = Nvcc(script(tmp_path / "nvcc", f'setsid sh -c "{wait}" &\necho said; exit 3'))
    assert compiler.compile(small_kernel("k"), tmp_path / "scratch").failure == "said"
    assert not (tmp_path / "gone").exists()
    (tmp_path / "go").touch()
    while not (tmp_path / "gone").exists():
        threading.Event().wait(0.01)


def test_a_compiler_reads_nothing_of_ours(tmp_path: Path) -> None:
    """It would wait for a line in the terminal, or in the pipe that holds a build process to its engine."""
    read, write = os.pipe()
    saved = os.dup(0)
    os.dup2(read, 0)
    try:
        compiler = Nvcc(script(tmp_path / "nvcc", "cat; echo read; exit 3"))
        assert compiler.compile(small_kernel("k"), tmp_path / "scratch").failure == "read"
    finally:
        os.dup2(saved, 0)
        for each in (read, write, saved):
            os.close(each)
