"""The commands of the tutorial and the guides run, in the order of the text, in one directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from compilers import copying_toolkit

from kregistry.toolchain import Toolchain
from tests.docs.blocks import blocks


@pytest.mark.slow
@pytest.mark.stub
def test_the_commands_of_the_guides_run(
    toolchain: Toolchain, cubin: bytes, tmp_path: Path, stub_directory: Path
) -> None:
    """The compiler answers at once; all else is as for a reader."""
    directory = tmp_path / "reader"
    directory.mkdir()
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "kregistry"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -W ignore -m kregistry "$@"\n')
    command.chmod(0o755)
    home = copying_toolkit(tmp_path / "cuda", toolchain, cubin)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "CUDA_HOME": str(home),
        "KREGISTRY_STORE": str(tmp_path / "store"),
        "DG_JIT_CACHE_DIR": str(tmp_path / "jit"),
    }
    for page in ("docs/tutorial.md", "docs/how-to.md", "docs/report.md"):
        if page == "docs/report.md":  # which speaks of a second manifest
            shutil.copy(directory / "kernels.yaml", directory / "other.yaml")
        found = [block for block in blocks("sh") if block.file == page]
        assert found
        for block in found:
            for line in block.text.splitlines():
                done = subprocess.run(
                    line, shell=True, cwd=directory, env=environment, capture_output=True, text=True, timeout=300
                )
                assert done.returncode == 0, f"{block}: {line}\n{done.stdout}{done.stderr}"
    assert (directory / "report.html").exists() and (directory / "kregistry-my-gemm").is_dir()
