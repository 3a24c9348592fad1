"""The environment variables of a process that warms up."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kregistry.errors import MissingRequirement
from kregistry.toolchain import Toolchain
from kregistry.warm_up.process import prepare_process


def test_a_cache_directory_is_set_before_deep_gemm_is_imported(
    toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DG_JIT_CACHE_DIR", "/elsewhere")
    monkeypatch.setenv("CUDA_HOME", "/cuda")
    monkeypatch.delitem(sys.modules, "deep_gemm", raising=False)
    prepare_process(toolchain, tmp_path)
    assert os.environ["DG_JIT_CACHE_DIR"] == str(tmp_path)
    assert os.environ["CUDA_HOME"] == "/cuda"


def test_the_compiler_is_named_where_nobody_else_does(toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_HOME", "")
    del os.environ["CUDA_HOME"]
    prepare_process(toolchain, None)
    assert os.environ["CUDA_HOME"] == str(toolchain.cuda.home)
    assert "DG_JIT_CACHE_DIR" not in os.environ


def test_another_cache_directory_after_deep_gemm_was_imported_is_refused(
    toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DG_JIT_CACHE_DIR", "/a")
    monkeypatch.setenv("CUDA_HOME", str(toolchain.cuda.home))
    monkeypatch.setitem(sys.modules, "deep_gemm", SimpleNamespace())
    with pytest.raises(MissingRequirement) as caught:
        prepare_process(toolchain, "/b")
    assert str(caught.value) == (
        "deep_gemm is already imported with DG_JIT_CACHE_DIR=/a, so it will not look in /b\n"
        "hint: warm up before deep_gemm is imported, or leave cache_dir out"
    )
    prepare_process(toolchain, "/a")
