"""Change what calling a kernel type does, for everyone who holds it, at no cost for a call.

``kernel_type(...)`` is looked up on the class. So each bound kernel type gets a class of its own, whose ``__call__`` is
the function itself: the interpreter enters it without a frame in between, and an engine that has kept the object sees
the change. Assigning ``__class__`` is one step, so that a call from another thread meets the old or the new function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kregistry.kernel_type import KernelType

_PLAIN = "kregistry_plain_class"


def bind(kernel_type: KernelType, function: Callable[..., Any]) -> None:
    """Make ``kernel_type(...)`` mean ``function(...)``; all else about the object stays."""
    plain = plain_class(kernel_type)

    def reduce(self: KernelType) -> Any:  # pickled as what it is without the binding
        return _plain_object, (plain, self.__dict__)

    members = {
        "__call__": staticmethod(function),
        "__reduce__": reduce,
        "__doc__": plain.__doc__,
        "__module__": plain.__module__,
        _PLAIN: plain,
    }
    metaclass: Any = type(plain)
    kernel_type.__class__ = metaclass(plain.__name__, (plain,), members)


def unbind(kernel_type: KernelType) -> None:
    """Make ``kernel_type(...)`` mean its own launch again."""
    kernel_type.__class__ = plain_class(kernel_type)


def plain_class(kernel_type: KernelType) -> type[KernelType]:
    """The class that the plugin wrote."""
    kind: type[KernelType] = getattr(type(kernel_type), _PLAIN, type(kernel_type))
    return kind


def _plain_object(plain: type[KernelType], state: dict[str, Any]) -> KernelType:
    kernel_type = plain.__new__(plain)
    kernel_type.__dict__.update(state)
    return kernel_type
