"""The variables that put the monitor's program in front of the compiler: nested monitors, and what is restored."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kregistry.jit_monitor.monitored_compiler import MonitoredCompiler

NAMES = ("DG_JIT_NVCC_COMPILER", "KREGISTRY_MONITOR", "KREGISTRY_MONITOR_PYTHON")


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, "KREGISTRY_MONITORED_NVCC"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_the_real_compiler_is_behind_two_monitors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DG_JIT_NVCC_COMPILER", "/real/nvcc")
    outer = MonitoredCompiler()
    outer.report_to(tmp_path / "outer")
    program = os.environ["DG_JIT_NVCC_COMPILER"]
    assert Path(program).name == "nvcc_monitor.sh" and os.access(program, os.X_OK)
    inner = MonitoredCompiler()
    inner.report_to(tmp_path / "inner")
    assert os.environ["DG_JIT_NVCC_COMPILER"] == program
    assert os.environ["KREGISTRY_MONITOR"] == str(tmp_path / "inner")
    assert os.environ["KREGISTRY_MONITORED_NVCC"] == "/real/nvcc"
    inner.restore()
    assert os.environ["KREGISTRY_MONITOR"] == str(tmp_path / "outer")
    outer.restore()
    assert os.environ["DG_JIT_NVCC_COMPILER"] == "/real/nvcc" and "KREGISTRY_MONITOR" not in os.environ
    assert os.environ["KREGISTRY_MONITORED_NVCC"] == "/real/nvcc"  # DeepGEMM may keep the program as its compiler
