"""benchmarks/conformance.py: a run on a GPU that is made in pieces."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kregistry.conformance.rules import RULES

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("conformance_benchmark", BENCHMARKS / "conformance.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_report(path: Path, name: str, left_out: int = 0) -> None:
    checks = [check for rule in RULES.values() for check in rule.checks()]
    records = [
        {"kernel_type": name, "rule": each.rule.id, "case": each.case, "level": "stub", "outcome": "passed"}
        for each in checks[left_out:]
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in records))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, pieces: ModuleType) -> list[str]:
    """The kernel types that were run: each by a process that writes its whole report."""
    names: list[str] = []

    def run(command: list[str], **_: Any) -> None:
        name, report = command[-3], Path(command[-1])
        names.append(name)
        write_report(report, name)

    monkeypatch.setattr(pieces.subprocess, "run", run)
    return names


def start(pieces: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    command = ["conformance.py", "--require", "stub", "--processes", "1", *map(str, arguments)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        pieces.main()
    return int(end.value.code or 0)


def test_a_second_piece_runs_only_what_the_first_has_left(
    pieces: ModuleType, ran: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    write_report(first / "one.jsonl", "one")
    write_report(first / "two.jsonl", "two", left_out=1)  # the rules have changed since, or the process was ended
    assert start(pieces, monkeypatch, "--work", second, "--earlier", first, "one", "two", "three") == 0
    assert ran == ["two", "three"]
    results = json.loads((second / "conformance.json").read_text())
    assert set(results["kernel_types"]) == {"one", "two", "three"} and results["left"] == []


def test_after_its_seconds_nothing_begins_and_what_is_left_is_named(
    pieces: ModuleType,
    ran: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert start(pieces, monkeypatch, "--work", tmp_path, "--seconds", 0, "one", "two") == 1
    assert ran == []
    assert f"left, for a run with --earlier {tmp_path}: one two" in capsys.readouterr().out


@pytest.mark.stub  # which are claimed depends on the installed DeepGEMM
def test_the_kernel_types_of_another_gpu_can_be_named_without_one(pieces: ModuleType) -> None:
    names = pieces.claimed("h200")
    assert "fp8_gemm_nt" in names and "fp8_fp4_gemm_nt" not in names
