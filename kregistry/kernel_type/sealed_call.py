"""Sealed call: DeepGEMM's own function, with a guard for empty input only where its version needs one.

It does the same as :meth:`KernelType.launch`, but knows the installed version. Serving binds this function, and the
conformance kit tests the same function on the stub GPU.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

from kregistry.kernel_type.contract import KernelType
from kregistry.kernel_type.empty_input import EmptyInput
from kregistry.kernel_type.versions import version_applies

# A guard is generated with the parameters of the function that it guards, as dataclasses generates `__init__`.
# It adds 0.04 us to a call with one keyword (Python 3.12, Xeon, median of 150 rounds). A closure that passes on
# `*args, **kwargs` would add 0.32 us (0.18 us without the keyword). The bound is 0.15 us and 0.5 % of a call, which
# takes at least 14 us. `benchmarks/serving.py compare` measures both forms on a GPU.
_CHECK_FIRST = """
def {name}({parameters}):
    if _read_m({read}) == 0:
        return _handle_empty({handled})
    return _function({parameters})
"""
# `try` costs nothing until an error is raised.
_CHECK_AFTER_ERROR = """
def {name}({parameters}):
    try:
        return _function({parameters})
    except RuntimeError:
        if not _is_empty({read}):
            raise
    return _handle_empty({handled})
"""
_ANY = "*args, **kwargs"


def sealed_call(kernel_type: KernelType, deep_gemm_version: str) -> Callable[..., Any]:
    """DeepGEMM's own function, with a guard only if that version does not handle an empty input as declared.

    Raises:
        MissingRequirement: the installed DeepGEMM has none of the names.
    """
    function = kernel_type.function()
    if kernel_type.empty_input is EmptyInput.LAUNCH:
        return function
    returns = kernel_type.empty_input is EmptyInput.RETURN
    if returns and version_applies(kernel_type.handles_empty, deep_gemm_version):
        return function
    return guard(
        function,
        kernel_type.read_m,
        kernel_type.handle_empty,
        raises_on_empty=version_applies(kernel_type.raises_on_empty, deep_gemm_version),
        passes_on_to=_passes_on_to(function, kernel_type.passes_on, deep_gemm_version),
    )


def _passes_on_to(function: Callable[..., Any], versions: str, deep_gemm_version: str) -> Callable[..., Any] | None:
    """See :attr:`KernelType.passes_on`; ``None`` if that version passes nothing on."""
    import deep_gemm

    if not version_applies(versions, deep_gemm_version):
        return None
    found: Callable[..., Any] | None = getattr(getattr(deep_gemm, "_C", None), function.__name__, None)
    return found


def guard(
    function: Callable[..., Any],
    read_m: Callable[..., int],
    handle_empty: Callable[..., Any],
    *,
    raises_on_empty: bool,
    passes_on_to: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """A function that calls ``handle_empty`` if ``read_m`` returns 0, and else ``function``.

    If ``function`` is written in Python, all three are called by position: ``function`` with every parameter, and the
    other two with as many parameters as they accept.

    Args:
        raises_on_empty: whether ``function`` raises ``RuntimeError`` for an empty input before it launches anything.
            Then the guard checks only after such an error.
        passes_on_to: what ``function`` does nothing but call, with its parameters by position; called in its place.
    """

    def is_empty(*args: Any, **kwargs: Any) -> bool:
        try:
            return read_m(*args, **kwargs) == 0
        except Exception:  # the call cannot be read: raise the error of the function instead
            return False

    parameters = _parameters(function)
    name = getattr(function, "__name__", "")
    name = name if name.isidentifier() else "guarded"
    names: dict[str, Any] = {
        # The JIT monitor searches for frames of DeepGEMM's modules, and a C++ function has no frame of its own.
        "__name__": getattr(function, "__module__", __name__),
        "_function": function if passes_on_to is None or parameters == _ANY else passes_on_to,
        "_read_m": read_m,
        "_is_empty": is_empty,
        "_handle_empty": handle_empty,
    }
    template = _CHECK_AFTER_ERROR if raises_on_empty else _CHECK_FIRST
    read, handled = _accepted(read_m, parameters), _accepted(handle_empty, parameters)
    source = template.format(name=name, parameters=parameters, read=read, handled=handled)
    exec(compile(source, f"<guard of {name}>", "exec"), names)
    guarded: FunctionType = names[name]
    if isinstance(function, FunctionType) and parameters != _ANY:
        guarded.__defaults__ = function.__defaults__
    return functools.update_wrapper(guarded, function)


def _parameters(function: Callable[..., Any]) -> str:
    """Names of the parameters of a Python function, if all can be passed by position; else ``*args, **kwargs``."""
    if not isinstance(function, FunctionType):
        return _ANY
    code = function.__code__
    if code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS) or code.co_kwonlyargcount:
        return _ANY
    return ", ".join(code.co_varnames[: code.co_argcount])


def _accepted(callee: Callable[..., Any], parameters: str) -> str:
    """As many of the parameters as a function accepts by position."""
    if parameters == _ANY:
        return _ANY
    kinds = [each.kind for each in inspect.signature(callee).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return parameters
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return ", ".join(parameters.split(", ")[: sum(kind in by_position for kind in kinds)])
