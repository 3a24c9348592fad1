"""Costs: an order and sizes of groups, learned from what was built, never a reason to fail."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest
from small_kernels import small_kernel

from kregistry.compile import CompiledKernel
from kregistry.compile.build_report import FrontEndRun
from kregistry.compile.costs import Cost, Costs, front_end_seconds, start_seconds

SHIPPED = json.loads((resources.files("kregistry.compile") / "compile_seconds.json").read_text())


def compiled(name: str, seconds: float, front_end_seconds: float | None = None) -> CompiledKernel:
    return CompiledKernel(small_kernel(name), seconds, 100, front_end_seconds)


def front_end(seconds: float, *names: str) -> FrontEndRun:
    return FrontEndRun("gemm.cuh", tuple(small_kernel(name) for name in names), seconds)


def test_a_front_end_behind_parsed_headers_starts_and_generates_for_each() -> None:
    costs = [Cost(2.0, 0.5, 1.0), Cost(3.0, 0.25, 4.0)]
    assert start_seconds(3.0) == 0.75
    assert front_end_seconds(costs) == 1.5
    assert [cost.alone for cost in costs] == [3.5, 7.25]


def test_shipped_seconds_are_used_and_a_mean_for_the_unknown(tmp_path: Path) -> None:
    costs = Costs(tmp_path)
    assert {name: costs.cost(name).to_json() for name in SHIPPED} == SHIPPED
    assert costs.estimate("never seen") == pytest.approx(sum(map(sum, SHIPPED.values())) / len(SHIPPED))


def test_a_store_remembers_the_mean_of_each_family(tmp_path: Path) -> None:
    Costs(tmp_path).learn([compiled("a", 1.0), compiled("a", 2.0), compiled("b", 5.0)])
    costs = Costs(tmp_path)
    assert costs.estimate("a") == pytest.approx(1.5, abs=0.002)
    assert costs.estimate("b") == pytest.approx(5.0, abs=0.002)
    assert costs.cost(next(iter(SHIPPED))).to_json() == next(iter(SHIPPED.values()))


def test_shared_front_ends_teach_their_parts(tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text('{"a": [2.0, 0.5, 1.0], "b": [2.0, 0.5, 1.0]}')
    runs = [front_end(3.0, "a", "a")]  # expected 1.5: this machine takes twice as long
    Costs(tmp_path).learn([compiled("a", 2.5, 2.0), compiled("a", 3.5, 2.0), compiled("b", 2.4, 2.0)], runs)
    costs = Costs(tmp_path)
    assert costs.cost("a").to_json() == [4.0, 1.0, 1.0]
    assert costs.cost("b").to_json() == [2.0, 0.5, 0.4]


def test_seconds_are_learned_for_kernels_of_mean_size(tmp_path: Path) -> None:
    """Else a build of large kernels alone would say that all of their family take long."""
    (tmp_path / "costs.json").write_text('{"a": [2.0, 0.5, 1.0], "b": [2.0, 0.5, 1.0]}')
    size = {"a": 3.0, "b": 1.0}
    runs = [front_end(4.0, "a"), front_end(1.0, "b")]  # expected 0.5 + 1.5, and 0.5 + 0.5
    Costs(tmp_path).learn([compiled("a", 10.0, 4.0)], runs, lambda kernel: size[kernel.name])
    costs = Costs(tmp_path)
    assert costs.cost("a").to_json() == [4.0, 1.0, 2.0]
    assert costs.cost("b").to_json() == [2.0, 0.5, 1.0]


def test_so_are_seconds_of_kernels_compiled_alone(tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text('{"a": [2.0, 0.5, 1.0]}')
    Costs(tmp_path).learn([compiled("a", 13.0)], [], lambda kernel: 3.0)  # expected 2.0 + 1.5 + 3.0
    assert Costs(tmp_path).cost("a").to_json() == [4.0, 1.0, 2.0]


def test_several_front_ends_teach_their_mean(tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text('{"a": [2.0, 0.5, 1.0]}')
    Costs(tmp_path).learn([], [front_end(1.0, "a"), front_end(4.5, "a", "a")])  # expected 1.0 and 1.5
    assert Costs(tmp_path).cost("a").to_json() == [4.4, 1.1, 1.0]


def test_a_family_that_is_said_to_cost_nothing_teaches_nothing(tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text('{"a": [0, 0, 1.0]}')
    Costs(tmp_path).learn([compiled("a", 3.0, 1.0)], [front_end(1.0, "a")])
    assert Costs(tmp_path).cost("a").to_json() == [0.0, 0.0, 2.0]


def test_a_large_kernel_costs_more_but_its_headers_do_not() -> None:
    assert Cost(2.0, 0.5, 1.0).of_size(3.0) == Cost(2.0, 1.5, 3.0)


def test_a_sample_compiled_alone_beside_shared_ones_does_not_count(tmp_path: Path) -> None:
    """The other events report each part separately."""
    (tmp_path / "costs.json").write_text('{"a": [2.0, 0.5, 1.0]}')
    Costs(tmp_path).learn([compiled("a", 7.0), compiled("a", 3.5, 2.5)])
    assert Costs(tmp_path).estimate("a") == pytest.approx(3.5)


def test_learning_nothing_writes_nothing(tmp_path: Path) -> None:
    Costs(tmp_path).learn([])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    ["", "{", "[1]", '"text"', '{"a": "long"}', "3", '{"a": 2.0}', '{"a": [1, 2]}', '{"a": [1, -2, 3]}',
     '{"a": [0, 0, 0]}', '{"a": [true, 1, 1]}'],
)  # fmt: skip
def test_a_damaged_file_is_passed_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "costs.json").write_text(content)
    costs = Costs(tmp_path)
    assert costs.cost(next(iter(SHIPPED))).to_json() == next(iter(SHIPPED.values()))
    assert costs.estimate("a") == costs.estimate("never seen")


def test_a_directory_that_cannot_be_written_loses_only_the_estimate(tmp_path: Path) -> None:
    Costs(tmp_path / "nowhere").learn([compiled("a", 1.0)])
