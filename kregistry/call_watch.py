"""Watches the calls of Python and C functions in a block, through the profile function of the thread."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def watching_calls(watch: Callable[[FrameType, str, Any], None]) -> Iterator[None]:
    """Let a function see each call and return in this thread; the profile function of before is put back.

    Args:
        watch: takes what :func:`sys.setprofile` gives: the frame, the event, and its argument.
    """
    earlier = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(earlier)
