"""KernelTypeConformance: the class that a plugin author's test file subclasses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from kregistry.conformance.report import record
from kregistry.conformance.rule import Check
from kregistry.conformance.rules import RULES
from kregistry.conformance.run import ConformanceRun, Outcome, Verdict

#: Name of the test property that holds the record for the report.
PROPERTY = "kregistry_conformance"


class KernelTypeConformance:
    """All rules of the kit as tests. Subclass it under a name that begins with ``Test``.

    The module must have a fixture ``kernel_type``. Only :attr:`expected_failures` may be overridden.
    """

    #: Known failures: id of a rule (``"KR303"``) or of one of its checks (``"KR303-tail"``) -> reason. They are
    #: checked too: a known failure that passes fails the test.
    expected_failures: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in vars(KernelTypeConformance):
            if not name.startswith("__") and name != "expected_failures" and name in vars(cls):
                raise TypeError(
                    f"{cls.__name__} overrides {name}, which would weaken the conformance kit; "
                    "declare a known failure as expected_failures = {rule: reason}"
                )
        known = {*RULES, *(check.id for rule in RULES.values() for check in rule.checks())}
        for name, reason in cls.expected_failures.items():
            if name not in known:
                raise TypeError(f"{cls.__name__}.expected_failures names {name!r}, but there is no such rule or check")
            if not str(reason).strip():
                raise TypeError(f"{cls.__name__}.expected_failures[{name!r}] gives no reason")

    def test_rule(self, kregistry_check: Check, kregistry_examination: ConformanceRun, record_property: Any) -> None:
        """One rule at one case."""
        outcome = self._judge(kregistry_examination, kregistry_check)
        record_property(PROPERTY, record(kregistry_examination.subject.kernel_type, outcome))
        if outcome.verdict is Verdict.FAILED:
            rule = kregistry_check.rule
            pytest.fail(
                f"{outcome.reason}\n{rule.title}: see `kregistry docs conformance`, section {rule.id}", pytrace=False
            )
        elif outcome.verdict is Verdict.EXPECTED:
            pytest.xfail(outcome.reason)
        elif outcome.verdict is Verdict.NOT_PROVED:
            pytest.skip(f"not proved: {outcome.reason}")
        elif outcome.verdict is Verdict.SKIPPED:
            pytest.skip(outcome.reason)

    def _judge(self, examination: ConformanceRun, check: Check) -> Outcome:
        """The outcome of a check after known failures are taken into account."""
        outcome = examination.outcome(check)
        for name, checks in ((check.id, (check,)), (check.rule.id, check.rule.checks())):
            reason = self.expected_failures.get(name)
            if reason is None:
                continue
            if outcome.verdict is Verdict.FAILED:
                return Outcome(check, Verdict.EXPECTED, f"{reason}: {outcome.reason}")
            if all(examination.outcome(each).verdict is Verdict.PASSED for each in checks):
                text = f"{name} passes, but expected_failures says {reason!r}: remove it [{check.rule.id}]"
                return Outcome(check, Verdict.FAILED, text)
        return outcome
