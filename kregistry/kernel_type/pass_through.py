"""Take away a Python frame: DeepGEMM's functions in Python that only pass their parameters on to its C++ module.

A guard that stands in the place of such a function, and calls what it calls, costs the check and nothing more.
"""

from __future__ import annotations

import dis
from collections.abc import Callable
from types import FunctionType
from typing import Any

#: Instructions of ``_C.name(a, b, c)``, over the Python versions that are supported; anything else is not passing on.
_HARMLESS = {
    "CACHE",
    "CALL",
    "CALL_FUNCTION",
    "CALL_METHOD",
    "COPY_FREE_VARS",
    "NOP",
    "NOT_TAKEN",
    "POP_TOP",
    "PRECALL",
    "PUSH_NULL",
    "RESUME",
    "RETURN_CONST",
    "RETURN_VALUE",
}


def passed_on_to(function: Callable[..., Any]) -> Callable[..., Any]:
    """What ``def f(a, b): _C.f(a, b)`` calls, to be called by position; the function itself if it does more."""
    if not isinstance(function, FunctionType):
        return function
    code = function.__code__
    parameters = code.co_varnames[: code.co_argcount]
    loaded: list[str] = []
    for instruction in dis.get_instructions(code):
        name, value = instruction.opname, instruction.argval
        if name in ("LOAD_GLOBAL", "LOAD_ATTR", "LOAD_METHOD"):
            continue
        if name.startswith("LOAD_FAST"):
            loaded += value if isinstance(value, tuple) else [value]
        elif not (name in _HARMLESS or (name == "LOAD_CONST" and value is None)):
            return function
    plain = code.co_argcount == len(code.co_varnames) and not code.co_kwonlyargcount
    if not plain or tuple(loaded) != parameters or len(code.co_names) != 2:
        return function
    module, attribute = code.co_names
    inner = getattr(function.__globals__.get(module), attribute, None)
    return inner if callable(inner) else function
