"""The kit is tested by mutation: each mutant of a right kernel type is killed by the rule that the page names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from first_failure import first_failure
from mutants import MUTANTS, RIGHT, SURVIVORS

from kregistry.conformance import Machine
from kregistry.kernel_type import KernelType
from kregistry.stub.library import default_stub_directory

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "conformance-mutants.md").read_text()
PAGE = PAGE.partition("# A second set")[0]
KILLED_BY = dict(re.findall(r"^\| (\w+) \| (KR\d{3}) \|$", PAGE, re.MULTILINE))


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    import deep_gemm  # noqa: F401 - the settings of shapes are DeepGEMM's

    with Machine(default_stub_directory()) as machine:
        yield machine


@pytest.fixture(autouse=True)
def default_dtype() -> Iterator[None]:
    import torch

    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.slow
@pytest.mark.stub
@pytest.mark.parametrize("right", RIGHT, ids=lambda cls: cls.__name__)
def test_the_right_kernel_types_keep_every_rule(machine: Machine, right: type[KernelType]) -> None:
    assert first_failure(right(), machine) == ""


@pytest.mark.slow
@pytest.mark.stub
@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in SURVIVORS])
def test_a_mutant_is_killed_by_the_rule_of_the_page(machine: Machine, name: str) -> None:
    assert first_failure(MUTANTS[name](), machine) == KILLED_BY[name]


def test_the_page_lists_every_mutant_and_the_share_that_is_killed() -> None:
    assert set(KILLED_BY) == set(MUTANTS) - set(SURVIVORS)
    assert len(MUTANTS) >= 80 and len(SURVIVORS) <= len(MUTANTS) // 20
    assert f"{len(KILLED_BY)} of {len(MUTANTS)} mutants are killed" in PAGE
    for name, reason in SURVIVORS.items():
        assert f"| {name} | {reason} |" in PAGE
