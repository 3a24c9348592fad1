"""Counts that are no counts are refused, whichever record they stand in."""

from __future__ import annotations

from typing import Any

import pytest

from kregistry.remote.counts import add_counts, seconds_count, whole_counts
from kregistry.remote.tier_use import TierUse
from kregistry.remote.usage import Usage

READ = (ValueError, TypeError, KeyError, AttributeError, OverflowError)


def test_only_the_named_counts_are_added() -> None:
    total, other = TierUse("a", hits=1, errors=5), TierUse("b", hits=2, errors=7)
    add_counts(total, other, ("hits", "misses"))
    assert (total, other.hits) == (TierUse("a", hits=3, errors=5), 2)


@pytest.mark.parametrize("content", [{"a": -1}, {"a": "x"}, {"a": float("inf")}, {"a": None}, {}, [], 3])
def test_what_is_no_count_is_refused(content: Any) -> None:
    with pytest.raises(READ):
        whole_counts(content, ("a",))
    if content != {"a": float("inf")}:
        with pytest.raises(READ):
            seconds_count(content, "a")
    with pytest.raises(READ):
        seconds_count({"a": float("nan")}, "a")
    assert whole_counts({}, ("a",), default=0) == {"a": 0}


@pytest.mark.parametrize(
    "changed",
    [{"found": -1}, {"commands": "x"}, {"since": -1.0}, {"since": 1e12}, {"compile_seconds": float("nan")},
     {"remotes": {"s3://k": {"hits": -1, "seconds": 0}}}, {"remotes": {"s3://k": {"hits": 1}}}, {"remotes": []}],
)  # fmt: skip
def test_a_record_with_such_a_count_is_refused(changed: dict[str, Any]) -> None:
    Usage.from_json(Usage().to_json())
    with pytest.raises(ValueError):
        Usage.from_json({**Usage().to_json(), **changed})
