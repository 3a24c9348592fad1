"""docs/environment.md shows the table of variables as it is in the code."""

from __future__ import annotations

import pytest

from kregistry.deep_gemm.variables import BY_NAME, Handling, Variable
from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "environment.md").read_text()


def row(variable: Variable) -> str:
    return f"| `{variable.name}` | {variable.series_1.value} | {variable.series_2.value} | {variable.about} |"


@pytest.mark.parametrize("name", BY_NAME)
def test_each_variable_is_shown_as_it_is_treated(name: str) -> None:
    assert row(BY_NAME[name]) in PAGE.splitlines()


@pytest.mark.parametrize("handling", Handling, ids=lambda handling: handling.value)
def test_each_outcome_is_explained(handling: Handling) -> None:
    assert f"| {handling.value} |" in PAGE
