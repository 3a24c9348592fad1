"""Two witnesses: each difference between a rehearsal and the formulas of init has a reason, and is still there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.witnesses import BEGIN, END, FILE, PAGE, name, rehearsal, run, table, together, witnesses

SETTINGS: list[dict[str, Any]] = yaml.safe_load(FILE.read_text())
RUN, FAIL = ([each for each in SETTINGS if ("fails" in each) is fails] for fails in (False, True))


@pytest.mark.parametrize("setting", RUN, ids=name)
def test_each_difference_has_a_reason(setting: dict[str, Any]) -> None:
    assert setting["rehearsed"] > 0 and setting["formula"] > 0
    for each in setting["differences"]:
        assert len(each["why"]) > 20, each


def test_the_table_of_the_page_is_generated() -> None:
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown.strip() == table(SETTINGS).strip(), "python tools/witnesses.py --table"


def test_what_does_not_run_has_a_reason() -> None:
    for setting in FAIL:
        assert setting["fails"] and len(setting["why"]) > 20, name(setting)


@pytest.mark.engines
@pytest.mark.usefixtures("engine_imported_once")
def test_the_engine_still_does_not_run_it() -> None:
    for setting in FAIL:  # today there is none, and a test without parameters would be skipped
        with pytest.raises(SystemExit) as caught:
            run(*rehearsal(setting), environment=setting)
        assert setting["fails"] in str(caught.value), name(setting)


@pytest.mark.engines
@pytest.mark.usefixtures("engine_imported_once")
@pytest.mark.parametrize("setting", together(RUN), ids=name)
def test_the_engine_still_says_so_and_its_manifest_plans(setting: dict[str, Any], tmp_path: Path) -> None:
    counts, lines = witnesses(setting, tmp_path)
    assert lines == [each["difference"] for each in setting["differences"]]
    assert counts == {"formula": setting["formula"], "rehearsed": setting["rehearsed"]}
    plan = [sys.executable, "-m", "kregistry", "plan", str(tmp_path / "rehearsed.yaml")]
    done = subprocess.run(plan, capture_output=True, text=True)
    assert done.returncode in (0, 5), done.stderr
