"""CUTLASS's Python package, which old releases of SGLang import with every model: names without kernels behind them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import MutableSequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from kregistry.rehearsal.patches import patch

_PACKAGES = ("cutlass", "quack")


class _AnyName(type):
    """A class with every attribute, which is itself: it is a type, a decorator and a base class."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else cls

    def __getitem__(cls, item: object) -> Any:
        return cls

    def __or__(cls, other: object) -> Any:
        return cls

    __ror__ = __or__


class _Nothing(metaclass=_AnyName):
    """What is imported by name."""


class _Module(ModuleType):
    __path__: MutableSequence[str] = []  # noqa: RUF012 - a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nothing


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in _PACKAGES:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


@patch("sglang", "<=0.5.15.post1")
def cutlass_names() -> None:
    """SGLang 0.5.15 imports CUTLASS's kernels with every model; without it, transformers' models would run."""
    if importlib.util.find_spec("cutlass") is None:
        sys.meta_path.append(_Finder())
