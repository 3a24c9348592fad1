"""Phases: before and after the folder of a start is known, of several processes, and where it cannot be written."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from kregistry.integrations.phases import Phases, read_phases


def test_phases_are_kept_in_the_folder_once_it_is_known(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "kregistry.integrations")
    phases = Phases()
    with phases.phase("early"):
        assert not read_phases(tmp_path)
    phases.write_to(tmp_path)
    with pytest.raises(ValueError, match="on purpose"), phases.phase("late"):
        raise ValueError("on purpose")
    phases.write_to(tmp_path / "of another start")  # the first one stays
    other = {"phase": "first of all", "at": 1.0, "s": 0.1, "cpu_s": 0.1, "thread": "t"}
    (tmp_path / "phases-7.jsonl").write_text(json.dumps(other) + "\n")
    found = read_phases(tmp_path)
    assert [each["phase"] for each in found] == ["first of all", "early", "late"] and found[0]["pid"] == 7
    assert all(each["s"] >= 0 for each in found)
    assert "kregistry: late took" in caplog.text


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    phases = Phases()
    phases.write_to(tmp_path / "missing")
    with phases.phase("one"):
        pass
