"""The whole warm-up in a process that takes the stub for its GPU: everything but the device itself is real."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_second_start_neither_plans_nor_builds(warm_up: Any, tmp_path: Path) -> None:
    first = warm_up()
    assert first["built"]
    assert first["loaded"] == first["kernels"] == 1
    assert first["compiled"] == []
    second = warm_up()
    assert not second["built"]
    assert second["loaded"] == 1
    assert second["compiled"] == []


def test_a_start_that_misses_a_kernel_builds_again(warm_up: Any, tmp_path: Path) -> None:
    warm_up()
    (cubin,) = (tmp_path / "store").glob("kernels/*/*/kernel.cubin")
    cubin.write_bytes(cubin.read_bytes()[:100])
    report = warm_up()
    assert report["built"]
    assert len(report["build"]["compiled"]) == 1
    assert report["loaded"] == 1


def test_a_changed_range_is_another_plan(warm_up: Any, tiny_file: Path) -> None:
    warm_up()
    tiny_file.write_text(tiny_file.read_text().replace("stop: 4", "stop: 5"))
    assert warm_up()["built"]
