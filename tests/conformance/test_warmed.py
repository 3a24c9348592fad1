"""KR309 on the stub GPU, where DeepGEMM's compiles can be seen as on a real one; numerics cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from on_stub import answer

SUPPORT = Path(__file__).parent.parent / "support"
SCRIPT = """
from good_kernel_types import Bf16Gemm
from warms_up_one_kernel import WarmsUpOneKernel
from kregistry.conformance import Machine
from kregistry.conformance.rule import RuleViolation
from kregistry.conformance.rules import RULES, numerics
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest

numerics.compile_ahead = lambda subject: None  # with a real compiler, for a real device
found = {}
with Machine() as machine:
    for kernel_type in (WarmsUpOneKernel(), Bf16Gemm()):
        try:
            RULES["KR309"].check(KernelTypeUnderTest(kernel_type, machine))
            found[type(kernel_type).__name__] = ""
        except RuleViolation as breach:
            found[type(kernel_type).__name__] = str(breach)
answer(**found)
"""


def test_a_compile_while_serving_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")]))
    got = answer(SCRIPT, tmp_path)
    assert got["Bf16Gemm"] == ""
    assert got["WarmsUpOneKernel"].startswith("serving after a warm-up at (1,): got DeepGEMM compiled ")
    assert ", expected nothing (n=2112 k=7168, m=17" in got["WarmsUpOneKernel"]
