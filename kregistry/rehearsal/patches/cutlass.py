"""CUTLASS's Python package: every name of it, and kernels that do nothing.

Servers have the package, and choose backends by it. So it is there in every rehearsal, installed or not.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, MutableSequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from kregistry.rehearsal.patches import patch
from kregistry.rehearsal.replaced import count

_PACKAGES = ("cutlass", "quack")


def _launch(function: Any) -> Callable[..., None]:
    """A launch that does nothing in place of a function or object that would be compiled."""
    name = getattr(function, "__name__", None) or type(function).__name__

    def launch(*args: Any, **kwargs: Any) -> None:
        count(f"cutlass {name}")

    return launch


class _Compile:
    """``cute.compile``, also with options in brackets."""

    def __getitem__(self, options: object) -> _Compile:
        return self

    def __call__(self, function: Any, *args: Any, **kwargs: Any) -> Callable[..., None]:
        return _launch(function)


def _jit(function: Any = None, **options: Any) -> Any:
    """``@cute.jit``, with and without options: a call would compile and launch."""
    if function is None:
        return _jit
    return functools.update_wrapper(_launch(function), function) if callable(function) else _Nothing


_KERNELS = {"compile": _Compile(), "jit": _jit}


class _AnyName(type):
    """A class with every attribute, which is itself: it is a type, a decorator, a base class and a number."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") and "mlir" not in name:
            raise AttributeError(name)
        return _KERNELS.get(name, cls)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else cls

    def __getitem__(cls, item: object) -> Any:
        return cls

    def __or__(cls, other: object = None) -> Any:
        return cls

    def __lt__(cls, other: object) -> bool:
        return False

    def __index__(cls) -> int:
        return 1

    def __iter__(cls) -> Iterator[Any]:
        return iter(())

    def __contains__(cls, item: object) -> bool:
        return False

    __gt__ = __le__ = __ge__ = __lt__
    __neg__ = __invert__ = __ror__ = __and__ = __rand__ = __xor__ = __or__
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __pow__ = __rpow__ = __or__
    __floordiv__ = __rfloordiv__ = __truediv__ = __rtruediv__ = __mod__ = __rmod__ = __or__
    __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = __or__


class _Nothing(metaclass=_AnyName):
    """What is imported by name."""


class _Module(ModuleType):
    __path__: MutableSequence[str] = []  # noqa: RUF012 - a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _KERNELS.get(name, _Nothing)


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in _PACKAGES:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


@patch("sglang")
def sglang_cutlass() -> None:
    """CUTLASS's Python package would compile kernels; SGLang chooses backends by it, and imports it with models."""
    sys.meta_path.insert(0, _Finder())


@patch("vllm")
def vllm_cutlass() -> None:
    """CUTLASS's Python package would compile kernels; vLLM imports it with models."""
    sys.meta_path.insert(0, _Finder())
