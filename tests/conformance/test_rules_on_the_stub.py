"""The code of the rules for a GPU runs on the stub GPU with real CUDA tensors: no launch computes there."""

from __future__ import annotations

from pathlib import Path

import pytest
from on_stub import answer

SCRIPT = """
from kregistry import Registry
from kregistry.conformance import Level, Machine
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest
from kregistry.conformance.rule import NotApplicable, RuleViolation
from kregistry.conformance.rules import RULES, numerics

numerics.compile_ahead = lambda subject: None  # with a real compiler, for a real device
ran, broken = [], []
with Machine() as machine:
    subject = KernelTypeUnderTest(Registry()["{name}"], machine)
    for rule in RULES.values():
        for check in rule.checks() if rule.level is Level.GPU else ():
            try:
                rule.check(subject, *((check.case,) if check.case else ()))
            except (RuleViolation, NotApplicable):
                pass  # of numbers that are not there
            except Exception as error:
                broken.append(f"{{check.id}}: {{type(error).__name__}}: {{error}}")
            ran.append(rule.id)
answer(device=subject.device, ran=sorted(set(ran)), broken=broken)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["bf16_gemm_nt", "fp8_mqa_logits", "m_grouped_fp8_gemm_nt_masked", "transform_sf_into_required_layout"]
)
def test_no_rule_breaks_over_cuda_tensors(name: str, tmp_path: Path) -> None:
    found = answer(SCRIPT.format(name=name), tmp_path)
    assert found["device"] == "cuda"
    assert {f"KR3{number:02}" for number in range(1, 24)} == set(map(str, found["ran"]))  # type: ignore[call-overload]
    assert found["broken"] == []
