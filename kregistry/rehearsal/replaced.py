"""What a rehearsal did not run: kernels and functions that patches replace, counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

#: "triton fused_moe_kernel" -> how often it was called.
COUNTS: Counter[str] = Counter()


def count(what: str) -> None:
    """Note one call of something that was replaced."""
    COUNTS[what] += 1


class Nothing:
    """A compiled module, or an object of one: its functions are counted and do nothing."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def function(*args: Any, **kwargs: Any) -> Any:
            count(f"{self._name}.{name}")
            return None

        return function
