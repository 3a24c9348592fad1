"""Runs of equal content, against a model that keeps every value."""

from __future__ import annotations

from array import array
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from kregistry.stub.segments import Run, join, libraries_of, runs

contents = st.lists(st.sampled_from(["a", "b", None, 0, False]), max_size=40)


def expand(found: list[Run], values: range) -> list[object]:
    """The content of each value; exactly one run must hold it."""
    expanded = []
    for value in values:
        (run,) = [run for run in found if run.start <= value <= run.stop]
        expanded.append(run.content)
    return expanded


@settings(derandomize=True, deadline=None)
@given(contents, st.integers(0, 9), st.integers(1, 9))
def test_runs_keep_every_value_and_are_maximal(content: list[object], start: int, step: int) -> None:
    values = range(start, start + len(content) * step, step)
    found = runs(values, content)
    assert expand(found, values) == content
    assert all(before.content != after.content for before, after in pairwise(found))
    assert [run.start for run in found[1:]] == [run.stop + step for run in found[:-1]]


@settings(derandomize=True, deadline=None)
@given(contents, st.lists(st.integers(0, 40), max_size=5))
def test_joining_parts_gives_the_runs_of_the_whole(content: list[object], cuts: list[int]) -> None:
    bounds = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    parts = [runs(range(a, b), content[a:b]) for a, b in pairwise(bounds)]
    assert join(parts) == runs(range(len(content)), content)


def test_equal_runs_with_a_gap_between_them_stay_apart() -> None:
    parts = [[Run(4, 8, "a")], [Run(12, 16, "a"), Run(24, 28, "a")]]
    assert join(parts, step=4) == [Run(4, 16, "a"), Run(24, 28, "a")]


def test_nothing_has_no_runs() -> None:
    assert runs(range(0), []) == []
    assert join([]) == [] and join([[], []]) == []


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 1 << 31), max_size=12))
def test_libraries_are_distinct_in_the_order_of_their_first_launch(launched: list[int]) -> None:
    found = libraries_of(array("I", launched).tobytes())
    assert list(found) == sorted(set(launched), key=launched.index)
