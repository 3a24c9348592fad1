"""The environment variables that put the monitor's program in front of DeepGEMM's compiler."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kregistry.deep_gemm.environment import DG_JIT_NVCC_COMPILER, NVRTC, check_environment
from kregistry.deep_gemm.preset import adopt_preset
from kregistry.scratch import refuse_unless_literal
from kregistry.toolchain import find_cuda_toolkit, installed_series

#: The program; it starts ``substitute_compiler.py``, which lies beside it.
_WRAPPER = Path(__file__).with_name("nvcc_monitor.sh")
#: The real compiler.
_MONITORED = "KREGISTRY_MONITORED_NVCC"
#: Directory of the monitor: its mode and its socket.
_HOME = "KREGISTRY_MONITOR"
_PYTHON = "KREGISTRY_MONITOR_PYTHON"


class MonitoredCompiler:
    """Replaces DeepGEMM's compiler for this process and its children.

    Raises:
        InputError: kregistry is installed at a path that DeepGEMM would pass to a shell.
        MissingRequirement: there is no nvcc, or DeepGEMM would compile with NVRTC.
    """

    def __init__(self) -> None:
        refuse_unless_literal(_WRAPPER, "the installation of kregistry")
        adopt_preset()
        check_environment(
            os.environ, installed_series(), only=NVRTC
        )  # it runs in DeepGEMM's process: no program would see it
        toolkit = find_cuda_toolkit()
        os.environ.setdefault("CUDA_HOME", str(toolkit.home))
        self._before = {name: os.environ.get(name) for name in (DG_JIT_NVCC_COMPILER, _HOME, _PYTHON)}
        # Never taken back: DeepGEMM keeps the name of its compiler, and the program still needs the real one.
        os.environ[_MONITORED] = str(toolkit.nvcc)

    def report_to(self, home: Path) -> None:
        """From now on compilers report to the monitor whose directory is ``home``."""
        os.environ[DG_JIT_NVCC_COMPILER] = str(_WRAPPER)
        os.environ[_HOME] = str(home)
        os.environ[_PYTHON] = sys.executable

    def restore(self) -> None:
        """Set the variables back to what they were."""
        for name, value in self._before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
