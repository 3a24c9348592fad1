"""benchmarks/real_server_parts/device_code.py: PTX and code of other architectures become zeros, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kregistry.toolchain import Toolchain

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "real_server_parts" / "device_code.py"
SOURCE = "__global__ void twice(float* values) { values[threadIdx.x] *= 2; }\n"
CHOICES = ["-gencode=arch=compute_80,code=sm_80", "-gencode=arch=compute_90,code=[sm_90,compute_90]"]


@pytest.fixture
def library(toolchain: Toolchain, tmp_path: Path) -> Path:
    """A shared library with code for two architectures, not compressed, so that it can be recognised in the file."""
    source, made = tmp_path / "twice.cu", tmp_path / "libtwice.so"
    source.write_text(SOURCE)
    options = ["-shared", "-Xcompiler", "-fPIC", "--cudart=none", "-no-compress", *CHOICES]
    subprocess.run([toolchain.cuda.nvcc, *options, "-o", made, source], check=True, capture_output=True)
    return made


@pytest.mark.nvcc
def test_only_the_code_of_one_architecture_stays(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import device_code

    before = library.read_bytes()
    [(start, size)] = device_code.sections(library)
    codes = list(device_code.entries(before, start, size))
    assert sorted(each.architecture for each in codes) == [80, 90, 90]
    assert sum(before[each.offset : each.offset + 4] == b"\x7fELF" for each in codes) == 2
    done = subprocess.run([sys.executable, SCRIPT, library, "--keep", "90"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{library}: 0 of {len(before) >> 20} MiB are zeros now\n"
    expected = bytearray(before)
    for each in codes:
        if each.architecture == 80 or before[each.offset : each.offset + 4] != b"\x7fELF":
            expected[each.offset : each.offset + each.size] = bytes(each.size)
    assert library.read_bytes() == expected != before
