"""The empty-input rule in front of a DeepGEMM function, as near to no cost as Python allows.

A server makes a call every few microseconds, and packing arguments (``*args, **kwargs``) costs more than the rule. So a
guard is written out with the parameters of the function that it stands for, as :mod:`dataclasses` writes ``__init__``.
Where DeepGEMM refuses an empty input, the guard asks only after the error: ``try`` costs nothing until then.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

from kregistry.kernel_type.pass_through import passed_on_to

_ASK_FIRST = """
def {name}({parameters}):
    if _read_m({asked}) == 0:
        return _handle_empty({handled})
    return _function({parameters})
"""
_ASK_AFTER_AN_ERROR = """
def {name}({parameters}):
    try:
        return _function({parameters})
    except RuntimeError:
        if not _is_empty({asked}):
            raise
    return _handle_empty({handled})
"""
_ANY = "*args, **kwargs"


def guard(
    function: Callable[..., Any],
    read_m: Callable[..., int],
    handle_empty: Callable[..., Any],
    *,
    raises_on_empty: bool,
) -> Callable[..., Any]:
    """``function``, except that ``handle_empty`` is called in its place where ``read_m`` says 0.

    If the function is one of Python, it calls all three by position: ``function`` with every parameter, the two others
    with as many of them as they take.

    Args:
        raises_on_empty: whether the function raises ``RuntimeError`` for an empty input, and does no harm.
    """

    def is_empty(*args: Any, **kwargs: Any) -> bool:
        try:
            return read_m(*args, **kwargs) == 0
        except Exception:  # not a call that can be read: the function's own error is the better one
            return False

    parameters = _parameters(function)
    name = getattr(function, "__name__", "")
    name = name if name.isidentifier() else "guarded"
    # The guard stands in the place of DeepGEMM's function: in a stack the JIT monitor finds it as such.
    names: dict[str, Any] = {
        "__name__": getattr(function, "__module__", __name__),
        "_function": function if parameters == _ANY else passed_on_to(function),
        "_read_m": read_m,
        "_is_empty": is_empty,
        "_handle_empty": handle_empty,
    }
    template = _ASK_AFTER_AN_ERROR if raises_on_empty else _ASK_FIRST
    asked, handled = _taken(read_m, parameters), _taken(handle_empty, parameters)
    source = template.format(name=name, parameters=parameters, asked=asked, handled=handled)
    exec(compile(source, f"<guard of {name}>", "exec"), names)
    guarded: FunctionType = names[name]
    if isinstance(function, FunctionType) and parameters != _ANY:
        guarded.__defaults__ = function.__defaults__
    return functools.update_wrapper(guarded, function)


def _parameters(function: Callable[..., Any]) -> str:
    """Names of the parameters of a Python function that can all be given by position."""
    if not isinstance(function, FunctionType):
        return _ANY
    code = function.__code__
    if code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS) or code.co_kwonlyargcount:
        return _ANY
    return ", ".join(code.co_varnames[: code.co_argcount])


def _taken(callee: Callable[..., Any], parameters: str) -> str:
    """As many of the names as a function takes by position."""
    if parameters == _ANY:
        return _ANY
    kinds = [each.kind for each in inspect.signature(callee).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return parameters
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return ", ".join(parameters.split(", ")[: sum(kind in by_position for kind in kinds)])
