"""docs/fleet.md shows the numbers that benchmarks/fleet_on_paper.py computes from what was measured."""

from __future__ import annotations

import runpy

import pytest

from tests.docs.blocks import ROOT


def test_the_numbers_are_those_of_the_script(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = ROOT / "benchmarks" / "fleet_on_paper.py"
    monkeypatch.setattr("sys.argv", [str(script)])
    runpy.run_path(str(script), run_name="__main__")
    page = (ROOT / "docs" / "fleet.md").read_text()
    for block in capsys.readouterr().out.strip().split("\n\n"):
        assert block in page
