"""Recording never harms the recorded program, whatever the disk or a plugin does."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sample_kernel_types import Sample

from kregistry import get_target
from kregistry.recording import interception
from kregistry.recording.recorded_run import RecordedRun
from kregistry.registry import Registry


@pytest.fixture
def observed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An observer whose calls are recognised without DeepGEMM."""

    def recognise(registry: Registry, function: str, args: tuple[Any, ...], kwargs: Any) -> Any:
        return Sample(), {"n": 8}, args[0]

    monkeypatch.setattr(interception, "recognise", recognise)
    monkeypatch.setattr(interception, "detect_target", lambda: get_target("h100"))
    observer = interception._Observer(Registry(load_entry_points=False), tmp_path / "lines")
    (tmp_path / "lines").mkdir()
    return observer.wrap("gemm", lambda m: m + 1)


def test_a_full_disk_reaches_no_call_and_later_calls_are_recorded(
    observed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "lines"
    lines.rmdir()
    assert [observed(3), observed(3), observed(4)] == [4, 4, 5]
    assert capfd.readouterr().err.count("are not recorded: FileNotFoundError") == 1
    lines.mkdir()
    assert observed(3) == 4
    (call,) = RecordedRun(lines).recording.calls()
    assert call.values == {3}


def test_a_torn_line_costs_that_line_only(observed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert observed(1) == 2
    real = Path.open

    class Short:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Short:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, content: bytes) -> int:
            return int(self.file.write(content[: len(content) // 2]))

    monkeypatch.setattr(Path, "open", lambda path, *a, **k: Short(real(path, *a, **k)))
    assert observed(2) == 3
    monkeypatch.undo()
    monkeypatch.setattr(interception, "recognise", lambda r, f, args, kwargs: (Sample(), {"n": 8}, args[0]))
    assert [observed(5), observed(2)] == [6, 3]
    run = RecordedRun(tmp_path / "lines")
    (call,) = run.recording.calls()
    assert call.values == {1, 2, 5}
    assert len(run.damaged) == 1


@pytest.mark.parametrize("error", [SystemExit(3), RuntimeError("x"), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])
def test_an_error_of_a_plugin_reaches_no_call(
    observed: Any, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Any:
        raise error

    monkeypatch.setattr(interception, "recognise", fail)
    assert observed(3) == 4


def test_a_module_without_the_functions_is_left_alone(tmp_path: Path) -> None:
    module = ModuleType("deep_gemm")
    interception.observe(module, str(tmp_path))
    assert [name for name in vars(module) if not name.startswith("__")] == []
