"""Call a function once a module has been imported, now or later.

Imports only the standard library: recorded processes, which may be any Python program, use it at their start.
"""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Action = Callable[[ModuleType], None]


def after_import(name: str, action: Action) -> None:
    """Call ``action`` once with the module of that name: now if it is imported already, else after its import.

    An exception of ``action`` is logged, and does not reach the program that imports the module.
    """
    module = sys.modules.get(name)
    if module is not None:
        _call(action, module)
    else:
        sys.meta_path.insert(0, _Finder(name, action))


def _call(action: Action, module: ModuleType) -> None:
    try:
        action(module)
    except (Exception, SystemExit):
        import logging

        logging.getLogger("kregistry").exception("kregistry's hook for the import of %s failed", module.__name__)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module by means of the finders behind this one, and is removed when the module has been loaded."""

    def __init__(self, name: str, action: Action) -> None:
        self._name = name
        self._action = action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        finders = list(sys.meta_path)
        behind = finders[finders.index(self) + 1 :] if self in finders else []
        for finder in behind:
            find_spec = getattr(finder, "find_spec", None)  # finders of the old protocol have none
            spec: ModuleSpec | None = find_spec(fullname, path, target) if find_spec else None
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, self._loaded)
                return spec
        return None

    def _loaded(self, module: ModuleType) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            _call(self._action, module)


class _Loader(importlib.abc.Loader):
    """Has another loader load a module, then reports it. The module keeps the other loader as its own."""

    def __init__(self, loader: Any, loaded: Action) -> None:
        self._loader = loader
        self._loaded = loaded

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._loaded(module)

    def __getattr__(self, name: str) -> Any:
        """``get_code``, ``get_resource_reader`` and the like, for programs that only ask for the spec of a module."""
        if name == "_loader":  # not set yet, e.g. while an instance is copied
            raise AttributeError(name)
        return getattr(self._loader, name)
