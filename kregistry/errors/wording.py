"""Texts of messages: exceptions of others, long values, unknown names, numbers of things."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: The most names that a hint proposes.
_MOST_ALIKE = 6


def describe_error(error: BaseException) -> str:
    """Any exception in one line, without the C++ stack and build paths that torch and DeepGEMM append.

    It raises nothing itself: the classes of plugins may have any ``__str__``.
    """
    kind: str = type.__dict__["__name__"].__get__(type(error))  # a metaclass may have a __name__ that raises
    try:
        text = " ".join(str(error).split())
    except BaseException:  # a sys.exit() of __str__ included
        text = "<exception str() failed>"
    for tail in (" Exception raised from", " Traceback"):
        text = text.partition(tail)[0]
    return f"{kind}: {text}"[:500] if text else kind


def place_of(error: BaseException) -> str:
    """``"FILE:LINE"`` where an exception was raised, or of the wrong syntax; it reads no source and raises nothing.

    The frames of the import system are left out: the line that imports is before them.
    """
    try:
        if isinstance(error, SyntaxError) and isinstance(error.lineno, int) and str(error.filename).endswith(".py"):
            return f"{error.filename}:{error.lineno}"
        place, trace = "?", error.__traceback__
        while trace is not None:
            file = trace.tb_frame.f_code.co_filename
            if place == "?" or not file.startswith("<frozen "):
                place = f"{file}:{trace.tb_lineno}"
            trace = trace.tb_next
        return place
    except BaseException:  # a class of a plugin may override __traceback__
        return "?"


def shorten(text: str, limit: int = 200) -> str:
    """A text of at most ``limit`` characters: a message never repeats a long value."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def quoted(value: object) -> str:
    """``repr`` of a value, shortened; it raises nothing. Control characters are escaped."""
    if isinstance(value, (str, bytes)):
        return shorten(repr(value[:200]))
    try:
        return shorten(repr(value))
    except Exception:  # an integer with too many digits, a plugin's own __repr__
        return f"a value of type {type(value).__name__}"


def nearest_hint(name: str, known: Iterable[str], kind: str, cutoff: float = 0.6) -> str:
    """A hint for an unknown name: the nearest known names, of which several may be as near; or else all known names.

    Args:
        name: the unknown name.
        known: the names that exist.
        kind: what the names are, in the singular: ``"target"``, ``"provider of fp8_gemm_nt"``.
        cutoff: how alike two names must be, from 0 to 1.
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(name[:100], names, n=_MOST_ALIKE, cutoff=cutoff)
    if near:
        best = [each for each in near if _likeness(each, name) == _likeness(near[0], name)]
        *others, last = map(repr, sorted(best))
        return f"did you mean {', '.join(others)}{' or ' if others else ''}{last}?"
    return f"known {_plural(kind)}: {', '.join(names)}" if names else f"no {kind} is known"


def _likeness(known: str, name: str) -> float:
    return difflib.SequenceMatcher(None, known, name[:100]).ratio()


def count_of(number: int, noun: str) -> str:
    """``"1 kernel"``, ``"2 kernels"``, ``"3 entries"``."""
    return f"{number} {noun if number == 1 else _plural(noun)}"


def _plural(phrase: str) -> str:
    """``"providers of x"`` for ``"provider of x"``: the words before ``of`` or ``with`` become plural."""
    link = next((each for each in (" of ", " with ") if each in phrase), " of ")
    noun, found, rest = phrase.partition(link)
    plural = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"
    return plural + found + rest
