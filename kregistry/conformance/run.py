"""ConformanceRun: checks every rule once, after the rules that it needs."""

from __future__ import annotations

import enum
import traceback
from collections.abc import Iterator

from attrs import frozen

from kregistry.conformance.author_code import is_authors
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest
from kregistry.conformance.machine import Machine
from kregistry.conformance.rule import Check, Level, NotApplicable, NotProved, Rule, RuleViolation
from kregistry.conformance.rules import RULES
from kregistry.errors import MissingRequirement
from kregistry.kernel_type import KernelType


class Verdict(enum.Enum):
    """The result of a check."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    #: Not checked, and not because the rule does not matter here: a level that this machine cannot test, or an opt-out.
    NOT_PROVED = "not proved"
    #: Failed, and the author has declared the failure.
    EXPECTED = "known failure"


@frozen
class Outcome:
    """A check with its verdict, and the reason unless it passed."""

    check: Check
    verdict: Verdict
    reason: str = ""


class ConformanceRun:
    """All checks of one kernel type on a machine; a check runs when its outcome is requested.

    Args:
        kernel_type: the kernel type under test.
        machine: the machine.
        required: a level. If the machine cannot check it or a level before it, its rules fail and are not skipped.
    """

    def __init__(self, kernel_type: KernelType, machine: Machine, required: Level = Level.ANYWHERE) -> None:
        self.subject = KernelTypeUnderTest(kernel_type, machine)
        self.required = required
        self._outcomes: dict[Check, Outcome] = {}

    def outcome(self, check: Check) -> Outcome:
        if check not in self._outcomes:
            self._outcomes[check] = self._examine(check)
        return self._outcomes[check]

    def outcomes(self) -> Iterator[Outcome]:
        """Every check of every rule."""
        for rule in RULES.values():
            for check in rule.checks():
                yield self.outcome(check)

    def _examine(self, check: Check) -> Outcome:
        rule = check.rule
        reason = self._unavailable(rule)
        if reason:
            return self._out_of_reach(check, reason)
        first = self._failed_before(rule)
        if first:
            return Outcome(check, Verdict.SKIPPED, f"needs {first}, which fails")
        _ = self.subject.first_state  # as they are before the first rule
        try:
            rule.check(self.subject, *((check.case,) if check.case else ()))
        except RuleViolation as breach:
            return Outcome(check, Verdict.FAILED, f"{breach} [{rule.id}]")
        except NotProved as reason:
            return self._not_proved(check, str(reason))
        except NotApplicable as reason:
            return Outcome(check, Verdict.SKIPPED, str(reason))
        except MissingRequirement as problem:
            if rule.on_device and self.subject.device == "cpu":  # the machine has all that a launch on a CPU needs
                return Outcome(check, Verdict.FAILED, f"{rule.title}: {problem.message} [{rule.id}]")
            return self._out_of_reach(check, problem.message)
        except Exception as error:  # any exception of the author's code
            return Outcome(check, Verdict.FAILED, f"{_raised(rule, error)} [{rule.id}]")
        return Outcome(check, Verdict.PASSED)

    def _unavailable(self, rule: Rule) -> str:
        """Why this machine cannot check a rule; empty if it can."""
        machine = self.subject.machine
        if rule.on_device and "cpu" in self.subject.kernel_type.proof.devices:
            return machine.unavailable.get(Level.ANYWHERE, "")
        return machine.unavailable.get(rule.level, "")

    def _out_of_reach(self, check: Check, reason: str) -> Outcome:
        level = check.rule.level
        if level <= self.required:
            return Outcome(check, Verdict.FAILED, f"the level {level} is required, but {reason} [{check.rule.id}]")
        return Outcome(check, Verdict.NOT_PROVED, f"level {level}: {reason}")

    def _not_proved(self, check: Check, reason: str) -> Outcome:
        """An opt-out: a failure if a level is required, unless the kernel type is for another DeepGEMM."""
        on_cpu = check.rule.on_device and self.subject.device == "cpu"
        required = self.required is not Level.ANYWHERE and (on_cpu or check.rule.level <= self.required)
        if required and self.subject.targets:
            return Outcome(check, Verdict.FAILED, f"not proved, but required: {reason} [{check.rule.id}]")
        return Outcome(check, Verdict.NOT_PROVED, reason)

    def _failed_before(self, rule: Rule) -> str:
        """Id of a rule that this one needs and that fails; empty if there is none."""
        for needed in rule.needs:
            earlier = self._failed_before(RULES[needed])
            if earlier:
                return earlier
            if any(self.outcome(check).verdict is Verdict.FAILED for check in RULES[needed].checks()):
                return needed
        return ""


#: What torch says where the numbers of a tensor are read that has none, and what that means to the author.
_META = "meta tensors"
_NO_NUMBERS = ": sizes and dtypes of tensors may be read here, no numbers, for which a server would wait for its GPU"


def _raised(rule: Rule, error: Exception) -> str:
    """The message for an exception of the author's code, with its deepest frame outside the kit and torch."""
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if is_authors(frame.filename)]
    frame = (outside or frames)[-1]
    text = " ".join(str(error).split())[:300]
    wanted = f"no error{_NO_NUMBERS if _META in text else ''}"
    return f"{rule.title}: got {type(error).__name__}: {text}, expected {wanted} ({frame.filename}:{frame.lineno})"


def examine(
    kernel_type: KernelType, machine: Machine | None = None, required: Level = Level.ANYWHERE
) -> tuple[Outcome, ...]:
    """Check every rule on a kernel type. Rules of levels that the machine cannot check are skipped, unless required."""
    if machine is not None:
        return tuple(ConformanceRun(kernel_type, machine, required).outcomes())
    with Machine() as own:
        return tuple(ConformanceRun(kernel_type, own, required).outcomes())
