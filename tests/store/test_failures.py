"""Verdicts of the compiler: kept if they are about the source, read back, never a reason to fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_kernels import BROKEN, NO_KERNEL, small_kernel

from kregistry.compile.nvcc import Nvcc
from kregistry.errors import StorageError
from kregistry.events import FailedKernel
from kregistry.store.failures import BrokenKernels, is_lasting
from kregistry.toolchain import Toolchain

ASSERTION = 'a.cuh(61): error: static assertion failed with "Invalid block size"'


def failed(output: str) -> FailedKernel:
    return FailedKernel(small_kernel("k"), "nvcc kernel.cu", output)


def test_a_verdict_is_read_back(tmp_path: Path) -> None:
    verdicts, other = BrokenKernels(tmp_path), small_kernel("other")
    verdicts.put(failed(ASSERTION))
    (known,) = verdicts.known([other, small_kernel("k")])
    assert (known.kernel.name, known.command, known.output, known.known) == ("k", "nvcc kernel.cu", ASSERTION, True)
    assert verdicts.get(other) is None


@pytest.mark.nvcc
@pytest.mark.parametrize("source", [BROKEN, NO_KERNEL], ids=["broken", "no kernel"])
def test_the_real_compilers_verdicts_are_lasting(source: str, toolchain: Toolchain, tmp_path: Path) -> None:
    kernel = small_kernel("k", source)
    result = Nvcc(toolchain.cuda.nvcc).compile(kernel, tmp_path / "scratch")
    assert is_lasting(FailedKernel(kernel, result.command, result.failure))


def test_a_missing_header_is_not_a_verdict(toolchain: Toolchain, tmp_path: Path) -> None:
    kernel = small_kernel("k", '#include "no_such_header.h"\n')
    result = Nvcc(toolchain.cuda.nvcc).compile(kernel, tmp_path / "scratch")
    assert "no_such_header.h" in result.failure
    assert not is_lasting(FailedKernel(kernel, result.command, result.failure))


@pytest.mark.parametrize(
    ("output", "lasting"),
    [
        ("ptxas /tmp/a.ptx, line 9; error   : Feature needs sm_100", True),
        ("ptxas error   : Entry function uses too much shared data", True),
        ("ptxas fatal   : Memory allocation failure", False),
        ("nvcc error   : 'cicc' died due to signal 9 (Kill signal)", False),
        (f"{ASSERTION}\nnvcc error   : 'cudafe++' died due to signal 9", False),
        ("a.cu(3): catastrophic error: could not write to /tmp/x: No space left on device", False),
        ("the compiler ended with exit code -9 and no message", False),
        ("the compiler reported success, but an empty file", False),
        ("the compiler reported success, but the cubin holds 0 kernels, but DeepGEMM loads only cubins with one", True),
    ],
)
def test_only_what_the_source_is_to_blame_for_is_kept(output: str, lasting: bool, tmp_path: Path) -> None:
    verdicts = BrokenKernels(tmp_path)
    verdicts.put(failed(output))
    assert (verdicts.get(small_kernel("k")) is not None) is lasting


def test_the_record_of_another_kernel_is_passed_over(tmp_path: Path) -> None:
    verdicts, other = BrokenKernels(tmp_path), small_kernel("other")
    verdicts.put(failed(ASSERTION))
    path = verdicts.path(other.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(verdicts.path(failed(ASSERTION).kernel.key).read_bytes())
    assert verdicts.get(other) is None and not verdicts.holds(other.key)
    assert verdicts.holds(failed(ASSERTION).kernel.key)


CHANGED = '{"key": "KEY", "command": "nvcc", "output": "a.cu(1): error: no", "digest": "0"}'


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"command": "nvcc"}', CHANGED])
def test_a_damaged_record_is_passed_over(content: str, tmp_path: Path) -> None:
    verdicts, kernel = BrokenKernels(tmp_path), small_kernel("k")
    path = verdicts.path(kernel.key)
    path.parent.mkdir(parents=True)
    path.write_text(content.replace("KEY", kernel.key))
    assert verdicts.get(kernel) is None
    verdicts.put(failed(ASSERTION))
    assert verdicts.get(kernel) is not None


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        BrokenKernels(tmp_path / "file").put(failed(ASSERTION))
