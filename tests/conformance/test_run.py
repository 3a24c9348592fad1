"""All kernel types of this repository keep every rule that this machine can check."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator

import pytest
from good_kernel_types import Bf16Gemm, PlainGemm
from wrong_kernel_types import NoSuchDtype

from kregistry.conformance import Level, Machine
from kregistry.conformance.rules import RULES
from kregistry.conformance.run import ConformanceRun, Outcome, Verdict
from kregistry.registry import Registry
from kregistry.stub.library import default_stub_directory


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine(default_stub_directory()) as machine:
        yield machine


def failures(outcomes: Iterator[Outcome]) -> list[str]:
    return [each.reason for each in outcomes if each.verdict is Verdict.FAILED]


#: Rules that some right kernel types give no occasion for: no linear argument, kernels that depend on everything,
#: functions that take any parameters, return nothing or an argument as it is, and launches of an empty input, a step.
OCCASIONAL = {"KR136", "KR206", "KR220", "KR221", "KR224", "KR226", "KR231"}


#: Each takes a minute: all its rules prepare a whole expert layer.
_LONG = {"bf16_mega_moe", "fp8_fp4_mega_moe", "fp8_mega_moe", "nvfp4_mega_moe"}
_NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name in _LONG)) for name in Registry().names()]


@pytest.mark.parametrize("name", _NAMES)
def test_installed_kernel_types_keep_every_rule(machine: Machine, name: str) -> None:
    examination = ConformanceRun(Registry()[name], machine, Level.STUB)
    assert failures(examination.outcomes()) == []
    passed = {each.check.rule.id for each in examination.outcomes() if each.verdict is Verdict.PASSED}
    missing = {rule for rule in RULES if rule < "KR3"} - passed
    if examination.subject.targets:
        assert missing <= OCCASIONAL
        return
    # It is for other versions of DeepGEMM: its declarations count, and each rule about launches says why it is silent.
    reasons = {each.reason for each in examination.outcomes() if each.check.rule.id in missing - OCCASIONAL}
    assert reasons == {f"no arch is claimed for DeepGEMM {machine.deep_gemm_version}"}


def test_good_kernel_types_keep_every_rule(machine: Machine) -> None:
    assert failures(ConformanceRun(Bf16Gemm(), machine, Level.STUB).outcomes()) == []
    assert failures(ConformanceRun(PlainGemm(), machine).outcomes()) == []


def test_what_follows_from_a_failure_is_skipped_and_says_so(machine: Machine) -> None:
    outcomes = list(ConformanceRun(NoSuchDtype(), machine).outcomes())
    assert {each.check.rule.id for each in outcomes if each.verdict is Verdict.FAILED} == {"KR110"}
    reasons = {each.check.rule.id: each.reason for each in outcomes if each.verdict is Verdict.SKIPPED}
    assert reasons["KR115"] == "needs KR110, which fails"
    assert reasons["KR301"] == "needs KR110, which fails"


def test_without_hypothesis_its_rule_is_skipped(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    (check,) = RULES["KR130"].checks()
    outcome = ConformanceRun(PlainGemm(), machine).outcome(check)
    assert (outcome.verdict, outcome.reason) == (Verdict.SKIPPED, "Hypothesis is not installed")


def test_a_class_inside_a_function_is_named_as_the_cause(machine: Machine) -> None:
    class Local(PlainGemm):
        pass

    (check,) = RULES["KR102"].checks()
    outcome = ConformanceRun(Local(), machine).outcome(check)
    assert outcome.verdict is Verdict.FAILED
    assert "a class at the top level of a module" in outcome.reason


def test_a_class_of_a_module_that_cannot_be_imported_is_named_as_the_cause(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import types

    module = types.ModuleType("only_in_this_process")
    unknown = type("Unknown", (PlainGemm,), {"__module__": module.__name__})
    module.Unknown = unknown  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert pickle.loads(pickle.dumps(unknown())).name == "plain_gemm"
    (check,) = RULES["KR102"].checks()
    outcome = ConformanceRun(unknown(), machine).outcome(check)
    assert outcome.verdict is Verdict.FAILED
    assert "No module named 'only_in_this_process'" in outcome.reason
    assert "put it into a module that a new process can import" in outcome.reason


def test_rules_need_only_rules_that_exist_and_no_cycle() -> None:
    def below(rule: str, path: tuple[str, ...] = ()) -> None:
        assert rule not in path, path
        for needed in RULES[rule].needs:
            assert RULES[needed].level <= RULES[rule].level
            below(needed, (*path, rule))

    for rule in RULES:
        below(rule)
