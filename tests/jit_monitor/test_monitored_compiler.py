"""The variables that put the monitor's program in front of the compiler: nested monitors, and what is restored."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kregistry.jit_monitor.monitored_compiler import MonitoredCompiler

NAMES = ("DG_JIT_NVCC_COMPILER", "KREGISTRY_MONITOR", "KREGISTRY_MONITOR_PYTHON")


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, "KREGISTRY_MONITORED_NVCC", "CUDA_HOME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_the_real_compiler_is_behind_two_monitors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = tmp_path / "real" / "nvcc"
    real.parent.mkdir()
    real.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 13.0, V13.0.1'\n")
    real.chmod(0o755)
    monkeypatch.setenv("DG_JIT_NVCC_COMPILER", str(real))
    outer = MonitoredCompiler()
    outer.report_to(tmp_path / "outer")
    program = os.environ["DG_JIT_NVCC_COMPILER"]
    assert Path(program).name == "nvcc_monitor.sh" and os.access(program, os.X_OK)
    inner = MonitoredCompiler()
    inner.report_to(tmp_path / "inner")
    assert os.environ["DG_JIT_NVCC_COMPILER"] == program
    assert os.environ["KREGISTRY_MONITOR"] == str(tmp_path / "inner")
    assert os.environ["KREGISTRY_MONITORED_NVCC"] == str(real)
    inner.restore()
    assert os.environ["KREGISTRY_MONITOR"] == str(tmp_path / "outer")
    outer.restore()
    assert os.environ["DG_JIT_NVCC_COMPILER"] == str(real) and "KREGISTRY_MONITOR" not in os.environ
    assert os.environ["KREGISTRY_MONITORED_NVCC"] == str(real)  # DeepGEMM may keep the program as its compiler
