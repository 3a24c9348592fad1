"""The tests of a set of mutants; each set has a file of its own, so that several processes share the work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from first_failure import first_failure
from mutant_sets import FIRST, FOURTH, SECOND, THIRD, MutantSet

from kregistry.conformance import Machine

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "conformance-mutants.md").read_text()
PARTS = {part.partition("\n")[0]: part for part in re.split(r"^# ", PAGE, flags=re.MULTILINE)[1:]}

ALL = (FIRST, SECOND, THIRD, FOURTH)
#: What these remember belongs to an address: which rule sees it first depends on where the allocator puts tensors.
KNOWS_ADDRESSES = {"SameCallSkipped", "ScaledGemm_launch_remembers_its_result"}
#: With another number of threads torch adds in another order: on some machines the bits of two launches differ (KR305).
CHANGES_THREADS = {"SetsThreads"}


class MutationSuite:
    """A subclass names its set. ``mutant`` and ``right`` are names, ``machine`` is one for a set: see conftest.py."""

    mutants: ClassVar[MutantSet]

    @pytest.fixture(autouse=True)
    def process_as_before(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Some mutants change the settings of the process."""
        import torch

        monkeypatch.setenv("SCALED_GEMM_ROWS", "1")  # one of them sets it
        threads, precision = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
        yield
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = precision

    @pytest.mark.slow
    @pytest.mark.stub
    def test_a_right_kernel_type_keeps_every_rule(self, machine: Machine, right: str) -> None:
        (kernel_type,) = (each for each in self.mutants.right if each.__name__ == right)
        assert first_failure(kernel_type(), machine) == ""

    @pytest.mark.slow
    @pytest.mark.stub
    def test_a_mutant_is_killed_by_the_rule_of_the_page(self, machine: Machine, mutant: str) -> None:
        rule = first_failure(self.mutants.mutants[mutant](), machine)
        assert rule
        assert rule == self._killed_by()[mutant] or mutant in KNOWS_ADDRESSES | CHANGES_THREADS

    def test_the_page_lists_every_mutant_and_the_share_that_is_killed(self) -> None:
        part, killed, count = PARTS[self.mutants.heading], self._killed_by(), len(self.mutants.mutants)
        assert set(killed) == set(self.mutants.mutants) - set(self.mutants.survivors)
        assert f"{len(killed)} of {count} mutants are killed" in part
        assert sum(len(each.survivors) for each in ALL) <= sum(len(each.mutants) for each in ALL) // 20
        for name, reason in self.mutants.survivors.items():
            assert f"| {name} | {reason} |" in part

    def _killed_by(self) -> dict[str, str]:
        """Name of a mutant -> the rule, as the page says."""
        return dict(re.findall(r"^\| (\w+) \| (KR\d{3}) \|$", PARTS[self.mutants.heading], re.MULTILINE))
