"""The kit is tested by a second set of mutants, written without a look at the first: most are killed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from first_failure import first_failure
from independent.catalogue import MUTANTS, NOT_PROVED, RIGHT, SURVIVORS

from kregistry.conformance import Machine
from kregistry.kernel_type import KernelType
from kregistry.stub.library import default_stub_directory

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "conformance-mutants.md").read_text()
PART = PAGE[PAGE.index("# A second set") :]
KILLED_BY = dict(re.findall(r"^\| (\w+) \| (KR\d{3}) \|$", PART, re.MULTILINE))


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    import deep_gemm  # noqa: F401 - the settings of shapes are DeepGEMM's

    with Machine(default_stub_directory()) as machine:
        yield machine


@pytest.fixture(autouse=True)
def process_as_before() -> Iterator[None]:
    """Some mutants change the settings of the process."""
    import torch

    threads, precision = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    yield
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = precision


@pytest.mark.slow
@pytest.mark.stub
@pytest.mark.parametrize("right", RIGHT, ids=lambda cls: cls.__name__)
def test_the_right_kernel_types_keep_every_rule(machine: Machine, right: type[KernelType]) -> None:
    assert first_failure(right(), machine) == ""


@pytest.mark.slow
@pytest.mark.stub
@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in SURVIVORS])
def test_a_mutant_is_killed_by_the_rule_of_the_page(
    machine: Machine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALED_GEMM_ROWS", "1")  # one of them sets it
    assert first_failure(MUTANTS[name](), machine) == KILLED_BY[name]


def test_the_page_lists_every_mutant_and_the_share_that_is_killed() -> None:
    assert set(KILLED_BY) == set(MUTANTS) - set(SURVIVORS)
    assert len(MUTANTS) >= 60 and len(KILLED_BY) >= 0.9 * len(MUTANTS)
    assert set(NOT_PROVED) <= set(KILLED_BY)
    assert f"{len(KILLED_BY)} of {len(MUTANTS)} are killed" in PART
    for name, reason in SURVIVORS.items():
        assert f"| {name} | {reason} |" in PART
