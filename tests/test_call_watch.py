"""A watch sees the calls of its block only, and the profile function of before is in force again."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from kregistry.call_watch import watching_calls


def test_the_calls_of_the_block_are_seen() -> None:
    seen = []

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        seen.append((event, getattr(argument, "__name__", frame.f_code.co_name)))

    def called() -> None:
        len("")

    called()
    with watching_calls(watch):
        called()
    called()
    first = seen.index(("call", "called"))  # what the context manager itself returns to comes before
    assert seen[first : first + 4] == [("call", "called"), ("c_call", "len"), ("c_return", "len"), ("return", "called")]
    assert seen.count(("call", "called")) == 1


def test_the_profile_function_of_before_is_in_force_again_also_after_an_error() -> None:
    def outer(frame: FrameType, event: str, argument: Any) -> None: ...

    def inner(frame: FrameType, event: str, argument: Any) -> None: ...

    before = sys.getprofile()
    with watching_calls(outer):
        with pytest.raises(ZeroDivisionError), watching_calls(inner):
            assert sys.getprofile() is inner
            _ = 1 / 0
        found = sys.getprofile()
    assert found is outer
    assert sys.getprofile() is before
