"""The whole warm-up in a process that takes the stub for its GPU: everything but the device itself is real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_second_start_neither_plans_nor_builds(warm_up: Any, tmp_path: Path) -> None:
    first = warm_up()
    assert first["built"]
    assert first["loaded"] == first["kernels"] == 1
    assert first["compiled"] == []
    second = warm_up()
    assert not second["built"]
    assert second["loaded"] == 1
    assert second["compiled"] == []


@pytest.mark.usefixtures("started")
def test_a_start_that_misses_a_kernel_builds_again(warm_up: Any, tmp_path: Path) -> None:
    (cubin,) = (tmp_path / "store").glob("kernels/*/*/kernel.cubin")
    cubin.write_bytes(cubin.read_bytes()[:100])
    report = warm_up()
    assert report["built"]
    assert len(report["build"]["compiled"]) == 1
    assert report["loaded"] == 1


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("damage", ["cut", "old", "gone"])
def test_a_plan_that_cannot_be_used_is_made_again(warm_up: Any, tmp_path: Path, damage: str) -> None:
    (plan,) = (tmp_path / "store" / "plans").iterdir()
    content = plan.read_text()
    if damage == "gone":
        plan.unlink()
    else:
        plan.write_text(content[:200] if damage == "cut" else content.replace('"lock_version": 1', '"lock_version": 0'))
    report = warm_up()
    assert report["built"] and report["build"]["compiled"] == [] and report["loaded"] == 1
    assert plan.read_text() == content
    assert not warm_up()["built"]


@pytest.mark.usefixtures("started")
def test_a_changed_range_is_another_plan(warm_up: Any, tiny_file: Path) -> None:
    tiny_file.write_text(tiny_file.read_text().replace("stop: 4", "stop: 5"))
    assert warm_up()["built"]
