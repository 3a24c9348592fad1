"""Thresholds are found from both sides, however many there are."""

from __future__ import annotations

from kregistry.rehearsal.boundaries import find_boundaries


def test_every_threshold_is_met_from_both_sides() -> None:
    run = []

    def calls(size: int) -> set[str]:
        run.append(size)
        found = {"always"}
        found |= {"from 32"} if size >= 32 else set()
        found |= {"to 2048"} if size <= 2048 else set()
        return found

    found = find_boundaries(calls, [1, 4096, 8192])
    assert {31, 32, 2048, 2049} <= found.keys()
    assert len(run) == len(set(run)) < 40


def test_no_forward_is_spent_where_nothing_changes() -> None:
    assert find_boundaries(lambda size: {"always"}, [1, 8, 1]).keys() == {1, 8}


def test_it_ends_at_the_limit() -> None:
    assert len(find_boundaries(lambda size: {size}, [1, 8192], limit=10)) == 10
