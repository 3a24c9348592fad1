"""benchmarks/sweep.py: every value is launched once, in as many calls as it takes."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kregistry.deep_gemm import settings

pytestmark = pytest.mark.stub  # the fixture needs torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


class LaunchedType:
    """A kernel type that notes its launches."""

    def __init__(self) -> None:
        self.launches: list[tuple[object, int]] = []

    def allocate_buffers(self, shape: object, m: int) -> tuple[object, int]:
        return shape, m

    def buffers(self, shape: object, m: int) -> dict[str, SimpleNamespace]:
        return {"a": SimpleNamespace(initial=0 if shape == "one buffer" else (1, 2))}

    def execute(self, buffers: tuple[object, int], m: int) -> None:
        assert buffers[1] == (2000 if buffers[0] == "one buffer" else m)
        self.launches.append((buffers[0], m))


@pytest.fixture
def sweep_class(monkeypatch: pytest.MonkeyPatch) -> Any:
    import torch

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import sweep

    for name in ("synchronize", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(settings, "applied", lambda kernel_type, shape: nullcontext())
    return sweep.Sweep


def manifest(*stops: int) -> Any:
    entries = [
        SimpleNamespace(
            kernel_type="t", shape=shape, range=SimpleNamespace(values=lambda stop=stop: range(1, stop + 1))
        )
        for shape, stop in zip(("one buffer", "own buffers"), stops)
    ]
    return SimpleNamespace(entries=entries)


def test_every_value_once_in_several_calls(sweep_class: Any, tmp_path: Path) -> None:
    kernel_type = LaunchedType()
    asked, file = manifest(2000, 600), tmp_path / "sweep.json"
    sweeps = []
    while not sweeps or sweeps[-1].missing:
        sweeps.append(sweep_class(file, asked))
        sweeps[-1].run({"t": kernel_type}, 0.0)
        sweeps[-1].add_compile_attempts(1)
        assert sweeps[-1].calls == len(kernel_type.launches)
    expected = [("one buffer", m) for m in range(1, 2001)] + [("own buffers", m) for m in range(1, 601)]
    assert kernel_type.launches == expected
    assert len(sweeps) == sweeps[-1].compile_attempts == 6 and sweeps[-1].seconds >= sweeps[0].seconds


def test_a_complete_sweep_and_that_of_another_manifest_begin_again(sweep_class: Any, tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    for asked in (manifest(2000), manifest(2000), manifest(2000, 1)):
        kernel_type = LaunchedType()
        sweep = sweep_class(file, asked)
        sweep.run({"t": kernel_type}, None)
        assert sweep.missing == 0 and len(kernel_type.launches) == sweep.calls >= 2000
