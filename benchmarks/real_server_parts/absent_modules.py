"""Answers for modules that an engine imports and that its models here do not use, where they are not installed.

`real_server_setup.sh` puts this beside a server's packages as `sitecustomize`. `KREGISTRY_ABSENT` names more modules.
Attributes, calls, bases and annotations of such a module are all one class that does nothing.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, ClassVar

_USUAL = (
    "IPython av decord modelscope outlines llguidance xgrammar cutlass quack tilelang cuda.tile flash_attn "
    "flash_attn_4 jsonschema"
)


def _attribute(name: str) -> Any:
    """Special names are absent: Python asks for them to see what an object can do.

    FlashInfer 0.6.14 takes ``__extract_mlir_values__`` from a class of CuTe DSL while it is imported.
    """
    if name.startswith("__") and "mlir" not in name:
        raise AttributeError(name)
    return _Nothing


class _Meta(type):
    def __getattr__(cls, name: str) -> Any:
        return _attribute(name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else _Nothing  # a decorator

    def __getitem__(cls, item: Any) -> Any:
        return _Nothing

    def __or__(cls, other: Any) -> Any:
        return _Nothing

    def __ror__(cls, other: Any) -> Any:
        return _Nothing

    def __mro_entries__(cls, bases: Any) -> tuple[type, ...]:
        return ()


class _Nothing(metaclass=_Meta):
    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.any_schema()


class _Module(ModuleType):
    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        return _attribute(name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands behind all other finders: a module that is installed is used."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if any(name == each or name.startswith(each + ".") for each in self._names):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


sys.meta_path.append(_Finder([*_USUAL.split(), *filter(None, os.environ.get("KREGISTRY_ABSENT", "").split(","))]))
