"""Finds the sizes at which an engine changes what it calls: a threshold is met from both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from itertools import pairwise

#: The most forwards that are spent on it.
LIMIT = 40


def find_boundaries(
    run: Callable[[int], Set[object]], sizes: Iterable[int], limit: int = LIMIT
) -> dict[int, Set[object]]:
    """Run forwards between ``sizes`` until the calls of neighbours differ at adjacent sizes only.

    Args:
        run: runs a forward of so many tokens, and returns its calls, without their sizes.
        sizes: where to start.
        limit: the most forwards.

    Returns:
        size -> calls, for every size that was run.
    """
    found = {size: run(size) for size in dict.fromkeys(sizes)}
    while len(found) < limit:
        gap = next(
            ((a, b) for a, b in pairwise(sorted(found)) if b - a > 1 and found[a] != found[b]),
            None,
        )
        if gap is None:
            break
        middle = sum(gap) // 2
        found[middle] = run(middle)
    return found
