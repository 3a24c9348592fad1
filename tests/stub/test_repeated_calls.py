"""Calls that are repeated natively: what they find is what the calls of Python find."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kregistry.stub.environment import stub_environment
from kregistry.stub.library import calls_library, compile_stub
from kregistry.stub.repeated_calls import compared
from kregistry.target import get_target
from kregistry.toolchain import Toolchain


@pytest.mark.stub
def test_repeated_calls_find_what_python_finds(toolchain: Toolchain, stub_directory: Path, tmp_path: Path) -> None:
    """Also the refusals, and for each kernel type of this repository that says that its arguments are linear.

    A kernel type whose arguments are not what it says is left to Python.
    """
    library = compile_stub(toolchain, stub_directory)
    environment = stub_environment(get_target("h100"), toolchain, library, tmp_path)
    environment["LD_PRELOAD"] += f":{calls_library(library)}"
    support = Path(__file__).parents[1] / "support"
    environment["PYTHONPATH"] = os.pathsep.join([str(support), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-W", "ignore", str(support / "both_ways.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {name: rest for name, *rest in (line.split() for line in done.stdout.splitlines())}
    ours = {name: found.pop(name) for name in list(found) if name.islower()}
    assert [each[:2] for each in found.values()] == [["True", "True"], ["True", "True"], ["False", "True"]]
    assert list(found) == ["Repeated", "Refused", "Stepping"]
    assert int(found["Repeated"][2]) > 2 and found["Repeated"][3] == "0"
    assert int(found["Refused"][3]) > 100
    assert {"fp8_gemm_nt", "m_grouped_fp8_gemm_nt_contiguous", "m_grouped_fp8_gemm_nt_masked"} <= ours.keys()
    assert all(same == "True" for _, same, *_ in ours.values())
    by_python = {name for name, (repeated, *_) in ours.items() if repeated == "False"}
    assert by_python <= {"fp8_gemm_nt_skip_head_mid"}  # its tuple of head sizes cannot be noted


def test_which_calls_are_compared() -> None:
    """Both ends, powers of two and their neighbours, the ends of segments, and some of the rest."""
    values = range(2, 5001)
    chosen = compared(values, [777, 778])
    assert {2, 3, 4, 5, 63, 64, 65, 777, 778, 4095, 4096, 4097, 5000} <= set(chosen)
    assert len(chosen) < 100 and chosen == sorted(chosen)
    assert compared(range(128, 1025, 128), []) == [128, 256, 512, 1024]
