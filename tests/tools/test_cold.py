"""benchmarks/cold.py without compilers: no minute of a GPU machine is lost to a fault in it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import cold

    return cold


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    ways = ("bare", "lock", "shipped")
    return argparse.Namespace(work=tmp_path, ways=ways, old=None, rounds=2, minutes=1.0, limit=60.0)


def a_build(cold: ModuleType, way: str) -> dict[str, Any]:
    return dict.fromkeys(cold.FIGURES, 1.0 + len(way))


def test_a_way_that_fails_does_not_end_the_others(
    cold: ModuleType, options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = []

    def build(options: argparse.Namespace, way: str) -> dict[str, Any]:
        tried.append(way)
        if way == "lock":
            raise cold.BuildFailed("kregistry build: no nvcc")
        return a_build(cold, way)

    monkeypatch.setattr(cold, "build", build)
    cold.rounds(options)
    assert tried == ["bare", "lock", "shipped", "shipped", "bare"]  # the order turns; what failed is not tried again
    result = json.loads((options.work / "cold.json").read_text())
    assert [run["way"] for run in result["runs"]] == ["bare", "shipped", "shipped", "bare"]
    assert result["failures"] == [{"round": 0, "way": "lock", "error": "kregistry build: no nvcc"}]
    assert result["medians"]["bare"]["rounds"] == 2
    assert "no nvcc" in capsys.readouterr().out


def test_a_call_goes_on_where_the_time_of_the_last_one_ended(
    cold: ModuleType, options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cold, "build", lambda options, way: a_build(cold, way))
    options.minutes = -1.0
    cold.rounds(options)
    assert "round 1 of 2 is not complete" in capsys.readouterr().out
    options.rounds, options.minutes = 1, 1.0
    cold.rounds(options)
    options.rounds = 2
    cold.rounds(options)
    result = json.loads((options.work / "cold.json").read_text())
    assert [run["round"] for run in result["runs"]] == [0, 0, 0, 1, 1, 1]
    assert {each["rounds"] for each in result["medians"].values()} == {2}


def test_all_goes_on_with_what_is_left(
    cold: ModuleType, options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """First the plan, then all builds, then the launches, in the time that is left."""
    steps: list[str] = []

    def prepare(options: argparse.Namespace) -> None:
        steps.append("prepare")
        cold._keep(options, {**cold._kept(options), "prepared": {}})

    def build(options: argparse.Namespace, way: str) -> dict[str, Any]:
        steps.append(way)
        return a_build(cold, way)

    def other(script: str, part: str, options: argparse.Namespace, *arguments: str) -> None:
        steps.append(f"{script} {part}")
        assert 0.0 < float(arguments[arguments.index("--seconds") + 1]) < 60 * options.minutes

    for function in (prepare, build):
        monkeypatch.setattr(cold, function.__name__, function)
    monkeypatch.setattr(cold, "_other", other)
    for name in ("store", "cache"):
        (options.work / "builds" / "bare" / name).mkdir(parents=True)
    options.rounds, options.minutes, options.seconds = 1, 0.1, None
    cold.everything(options)
    assert steps == ["prepare", "bare", "lock", "shipped"] and "no launch: call this again" in capsys.readouterr().out
    options.minutes = 5.0
    cold.everything(options)
    assert steps[4:] == ["hardware.py serve"] and (options.work / "cache").is_dir()


def test_commands_run_in_another_directory_with_absolute_paths_and_end_in_time(
    cold: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "here")
    printing = "import os; print(os.environ['PYTHONPATH'], os.environ['A'], 'PYTHONDONTWRITEBYTECODE' in os.environ)"
    variables = {"PYTHONPATH": "/old", "A": "1"}
    output = cold.run([sys.executable, "-c", printing], tmp_path, variables, 60.0)
    assert output.split() == [f"/old:{Path.cwd()}/here", "1", "False"]
    with pytest.raises(cold.BuildFailed, match=r"(?s)exit\(3\).*because"):
        cold.run([sys.executable, "-c", "import sys; print('because'); exit(3)"], tmp_path, {}, 60.0)
    with pytest.raises(cold.BuildFailed, match=r"not done after 0\.2 s"):
        cold.run([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, {}, 0.2)
