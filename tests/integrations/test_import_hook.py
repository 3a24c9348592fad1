"""Acting on a module after its import, now or later, without importing it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from kregistry.integrations.import_hook import after_import


def test_once_at_the_first_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "late_package").mkdir()
    (tmp_path / "late_package" / "__init__.py").touch()
    (tmp_path / "late_package" / "engine.py").write_text("def warm(): return 'own'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    finders = list(sys.meta_path)
    met: list[ModuleType] = []
    after_import("late_package.engine", met.append)
    importlib.import_module("late_package")
    assert importlib.util.find_spec("late_package.engine") is not None  # has_deep_gemm() of vLLM asks so
    assert met == [] and "late_package.engine" not in sys.modules
    engine = importlib.import_module("late_package.engine")
    assert met == [engine] and engine.warm() == "own"
    assert sys.meta_path == finders
    after_import("late_package.engine", met.append)
    assert met == [engine, engine]
    for name in ("late_package.engine", "late_package"):
        del sys.modules[name]
