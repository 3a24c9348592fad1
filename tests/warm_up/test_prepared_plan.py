"""The plan of another process of the same start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plans import plan_of, planned

from kregistry.compile import BuildReport
from kregistry.compile.built_plan import write_built_plan
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.manifest import Manifest
from kregistry.registry import Registry
from kregistry.target import get_target
from kregistry.toolchain import Toolchain
from kregistry.warm_up.prepared_plan import read_prepared, surroundings
from kregistry.warm_up.warmup_plan import WarmupPlan

PLAN = plan_of(planned((1, 16, "01"), (17, 32, "2")))
MANIFEST = Manifest("k.yaml", get_target("h100"), ("model",), tuple(each.entry for each in PLAN.entries), {})


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUDA_HOME", "")  # set by the first reader; restored afterwards
    monkeypatch.delenv("CUDA_HOME")
    monkeypatch.setenv("DG_JIT_CACHE_DIR", str(tmp_path / "jit"))
    path = tmp_path / "plans" / "x.json"
    write_built_plan(path, BuildReport(PLAN, (), len(PLAN.kernels), (), 0, "", 0.0, 0.0))
    return path


def around(path: Path, toolchain: Toolchain) -> dict[str, Any]:
    return surroundings(WarmupPlan.read(path, MANIFEST), JitCache(), toolchain)


def test_it_is_read_as_it_is(path: Path, toolchain: Toolchain) -> None:
    found = read_prepared(path, around(path, toolchain), MANIFEST, Registry(load_entry_points=False))
    assert found is not None and found.report is None and found.path == path
    assert found.plan == WarmupPlan.read(path, MANIFEST) and found.manifest is MANIFEST


@pytest.mark.parametrize("name", ["DG_JIT_CACHE_DIR", "DG_JIT_CPP_STANDARD"])
def test_a_process_with_other_variables_does_not_take_it(
    path: Path, toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    made_in = around(path, toolchain)
    monkeypatch.setenv(name, "17")
    assert read_prepared(path, made_in, MANIFEST, Registry(load_entry_points=False)) is None


@pytest.mark.parametrize("content", [None, "", "{}"])
def test_a_file_that_is_gone_or_damaged_is_not_taken(path: Path, toolchain: Toolchain, content: str | None) -> None:
    made_in = around(path, toolchain)
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert read_prepared(path, made_in, MANIFEST, Registry(load_entry_points=False)) is None
