"""Regular expressions of a checkpoint's config: only those are used whose matching is certain to end soon.

Python's ``re`` tries every way to match, so that ``(.|.|.)*!`` takes years on a short text. The form of an expression
bounds the number of ways: a repeated group must hold neither a repetition nor an alternative, and there may be only
a few repetitions, optional parts and alternatives altogether.
"""

from __future__ import annotations

import re
import warnings
from math import comb

from attrs import define

#: Longest expression, and the longest text that it is matched with.
MAX_PATTERN = 1000
MAX_TEXT = 100
#: Most ways in which an expression may be tried: less than a second.
_MAX_WAYS = 10_000_000
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[^:=!<)]*[:=!<]?|\{\d*,?\d*\}|.", re.DOTALL)


@define
class _Group:
    varies: bool = False
    alternatives: int = 1


def compile_bounded(pattern: str) -> re.Pattern[str]:
    """A compiled expression whose matching with a text of :data:`MAX_TEXT` characters takes less than a second.

    Raises:
        ValueError: it is no regular expression, or it could take longer.
    """
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"is longer than {MAX_PATTERN} characters")
    if _ways(pattern) > _MAX_WAYS:
        raise ValueError("could take very long to match: it has too many repetitions and alternatives, or nests them")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a FutureWarning of re, a DeprecationWarning for flags in the middle
            return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression: {error}") from error


def _ways(pattern: str) -> int:
    """An upper bound for the ways in which an expression can be tried."""
    repetitions, optional, ways = 0, 0, 1
    groups = [_Group()]
    closed: _Group | None = None
    for token in _TOKEN.findall(pattern):
        ended, closed = closed, None
        if token.startswith("("):
            groups.append(_Group())
        elif token == ")" and len(groups) > 1:
            closed = groups.pop()
            groups[-1].varies |= closed.varies or closed.alternatives > 1
            ways *= closed.alternatives
        elif token == "|":
            groups[-1].alternatives += 1
        elif token == "?":
            optional += 1
            groups[-1].varies = True
        elif token in "*+" or (token.startswith("{") and len(token) > 1):
            if ended is not None and (ended.varies or ended.alternatives > 1):
                return _MAX_WAYS + 1
            repetitions += 1
            groups[-1].varies = True
        if ways > _MAX_WAYS:
            return ways
    return ways * groups[0].alternatives * comb(MAX_TEXT + repetitions, repetitions) * int(2 ** min(optional, 64))
