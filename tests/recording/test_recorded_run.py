"""What recorded processes leave behind: calls, problems, a device, and lines that are damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import asdict

from kregistry import get_target, recording
from kregistry.recording.recorded_call import CallLine, Line, ProblemLine, TargetLine, read_line, write_line
from kregistry.recording.recorded_run import RecordedRun

LINES: list[Line] = [
    CallLine("fp8_gemm_nt", {"n": 8, "flag": True, "none": None, "word": "k"}, 3),
    ProblemLine("fp8_gemm_nt", "no kernel type can read the call"),
    TargetLine(asdict(get_target("h200"))),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: type(line).__name__)
def test_a_line_is_read_as_it_was_written(line: Line) -> None:
    assert read_line(write_line(line)) == line


DAMAGED = [
    b"\xff\xfe\n",
    b"{\n",
    b"null\n",
    b'{"type": "fp8_gemm_nt", "shape": {"n": 8}}\n',
    b'{"type": "fp8_gemm_nt", "shape": {"n": [8]}, "m": 3}\n',
    b'{"type": "fp8_gemm_nt", "shape": {"n": 8}, "m": "3"}\n',
    b'{"target": {"name": "other"}}\n',
]


@pytest.mark.parametrize("damaged", DAMAGED)
def test_a_damaged_line_is_named_and_only_that_line_is_lost(tmp_path: Path, damaged: bytes) -> None:
    before, after = (write_line(CallLine("fp8_gemm_nt", {"n": 8}, m)) for m in (3, 4))
    (tmp_path / "12.jsonl").write_bytes(before + damaged + after + b'{"half a line')
    (tmp_path / "13.jsonl").write_bytes(b"".join(map(write_line, LINES)))
    run = RecordedRun(tmp_path)
    assert [call.values for call in run.recording.calls()] == [{3, 4}, {3}]
    assert len(run.damaged) == 1 and run.damaged[0].startswith("12.jsonl:2: ")
    assert run.problems == {"fp8_gemm_nt": "no kernel type can read the call"}
    assert (run.processes, run.target.name) == (2, "h200")


def recorded_process(tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    """A process below ``kregistry record`` that finds the modules in ``tmp_path`` first."""
    start = Path(recording.__file__).with_name("recorded_process")
    variables = {"PYTHONPATH": os.pathsep.join(map(str, (start, tmp_path))), "KREGISTRY_RECORD": str(tmp_path)}
    command = [sys.executable, "-c", code]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=250)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"kregistry/__init__.py": "raise ImportError('not for this Python')"}, "ImportError: not for this Python"),
        ({"kregistry/__init__.py": ""}, "ModuleNotFoundError: No module named 'kregistry.recording'"),
    ],
    ids=["kregistry cannot be imported", "calls cannot be intercepted"],
)
def test_a_process_in_which_kregistry_fails_goes_on(tmp_path: Path, files: dict[str, str], reason: str) -> None:
    (tmp_path / "kregistry").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "deep_gemm.py").write_text("value = 5\n")
    done = recorded_process(tmp_path, "import os, deep_gemm; print(deep_gemm.value, os.getpid())")
    value, pid = done.stdout.split()
    assert (done.returncode, value) == (0, "5")
    assert f"kregistry record: the calls of process {pid} are not recorded: {reason}\n" in done.stderr


def test_a_process_without_kregistry_and_without_deep_gemm_says_nothing(tmp_path: Path) -> None:
    """For example of another environment."""
    (tmp_path / "kregistry.py").write_text("raise ModuleNotFoundError('it is not installed here')\n")
    done = recorded_process(tmp_path, "import json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_functions_are_wrapped_once_deep_gemm_is_imported(tmp_path: Path) -> None:
    (tmp_path / "deep_gemm.py").write_text("def fp8_gemm_nt(*args):\n    return len(args)\n")
    code = "import sys; assert 'attrs' not in sys.modules; import deep_gemm; assert deep_gemm.fp8_gemm_nt(1, 2) == 2"
    done = recorded_process(tmp_path, code)
    assert done.returncode == 0, done.stderr
    run = RecordedRun(tmp_path)
    assert list(run.problems) == ["fp8_gemm_nt"] and run.processes == 1
