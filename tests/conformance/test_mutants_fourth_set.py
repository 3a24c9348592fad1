"""The kit is tested by mutation: each mutant of a right kernel type is killed by the rule that the page names."""

from __future__ import annotations

from mutant_sets import FOURTH
from mutation_suite import MutationSuite


class TestFourthSet(MutationSuite):
    mutants = FOURTH
