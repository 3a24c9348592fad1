"""Costs: an order, learned from what was built, never a reason to fail."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest
from small_kernels import small_kernel

from kregistry.build import CompiledKernel
from kregistry.build.costs import Costs

SHIPPED = json.loads((resources.files("kregistry.build") / "compile_seconds.json").read_text())


def compiled(name: str, seconds: float) -> CompiledKernel:
    return CompiledKernel(small_kernel(name), seconds, 100)


def test_shipped_seconds_are_used_and_a_mean_for_the_unknown(tmp_path: Path) -> None:
    costs = Costs(tmp_path)
    assert {name: costs.estimate(name) for name in SHIPPED} == SHIPPED
    assert costs.estimate("never seen") == pytest.approx(sum(SHIPPED.values()) / len(SHIPPED))


def test_a_store_remembers_the_mean_of_each_family(tmp_path: Path) -> None:
    Costs(tmp_path).learn([compiled("a", 1.0), compiled("a", 2.0), compiled("b", 5.0)])
    costs = Costs(tmp_path)
    assert (costs.estimate("a"), costs.estimate("b")) == (1.5, 5.0)
    assert costs.estimate(next(iter(SHIPPED))) == next(iter(SHIPPED.values()))


def test_learning_nothing_writes_nothing(tmp_path: Path) -> None:
    Costs(tmp_path).learn([])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[1]", '"text"', '{"a": "long"}', "3"])
def test_a_damaged_file_is_passed_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "costs.json").write_text(content)
    costs = Costs(tmp_path)
    assert costs.estimate(next(iter(SHIPPED))) == next(iter(SHIPPED.values()))
    assert isinstance(costs.estimate("a"), float)


def test_a_directory_that_cannot_be_written_loses_only_the_estimate(tmp_path: Path) -> None:
    Costs(tmp_path / "nowhere").learn([compiled("a", 1.0)])
