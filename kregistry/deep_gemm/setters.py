"""Setters of DeepGEMM without a getter: the value of the last call is remembered, so that a real call can be read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

#: The attribute of DeepGEMM's module that keeps them: name of a setter -> the argument of its last call.
_LAST = "_kregistry_last_arguments"
_MISSING = object()


def observe_setters(deep_gemm: ModuleType, names: tuple[str, ...]) -> None:
    """Replace setters of a DeepGEMM module by functions that do the same, and remember the argument.

    Calls that were made before are not known.
    """
    for name in names:
        setter = getattr(deep_gemm, name, None)
        if setter is not None and not hasattr(setter, "_kregistry_observes"):
            setattr(deep_gemm, name, _observing(deep_gemm, name, setter))


def remember(deep_gemm: ModuleType, name: str, argument: Any) -> None:
    """Note a call of a setter."""
    vars(deep_gemm).setdefault(_LAST, {})[name] = argument


def last_argument(deep_gemm: ModuleType, name: str, default: Any) -> Any:
    """The argument of the last call of a setter that was seen; ``default`` if none was."""
    return vars(deep_gemm).get(_LAST, {}).get(name, default)


def _observing(deep_gemm: ModuleType, name: str, setter: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(setter)
    def observing(*args: Any, **kwargs: Any) -> Any:
        result = setter(*args, **kwargs)  # an argument that it refuses changes nothing
        remember(deep_gemm, name, next(iter((*args, *kwargs.values())), _MISSING))
        return result

    observing._kregistry_observes = True  # type: ignore[attr-defined]
    return observing
