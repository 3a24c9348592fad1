"""docs/conformance.md has a section for each rule, under its level, with what, why and how to fix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kregistry.conformance.rule import Level
from kregistry.conformance.rules import RULES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "conformance.md").read_text()
SECTIONS = dict(re.findall(r"^## (KR\d{3})\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_sections_are_the_rules_in_order() -> None:
    assert list(SECTIONS) == list(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_a_section_says_what_why_and_how_to_fix(rule: str) -> None:
    found = re.fullmatch(
        r"\*\*What\.\*\* .+?\n\*\*Why\.\*\* .+?\n\*\*How to fix\.\*\* .+", SECTIONS[rule].strip(), re.DOTALL
    )
    assert found, SECTIONS[rule]


@pytest.mark.parametrize("level", Level, ids=str)
def test_rules_stand_under_their_level(level: Level) -> None:
    heading = {Level.ANYWHERE: "# Anywhere", Level.STUB: "# Stub", Level.GPU: "# GPU"}[level]
    part = re.split(r"^# ", PAGE[PAGE.index(f"\n{heading}\n") + 3 :], maxsplit=1, flags=re.MULTILINE)[0]
    assert re.findall(r"^## (KR\d{3})$", part, re.MULTILINE) == [
        rule.id for rule in RULES.values() if rule.level is level
    ]


def test_the_message_shown_is_real() -> None:
    """The example in the page is what a wrong kernel type really gets."""
    from wrong_kernel_types import RequirementTooSmall

    from kregistry.conformance import Machine
    from kregistry.conformance.run import ConformanceRun

    with Machine() as machine:
        outcome = ConformanceRun(RequirementTooSmall(), machine).outcome(RULES["KR103"].checks()[0])
    assert f"```text\n{outcome.reason}\n```" in PAGE
