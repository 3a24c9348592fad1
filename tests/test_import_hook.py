"""Acting on a module after its import, now or later, without importing it."""

from __future__ import annotations

import importlib
import importlib.resources
import importlib.util
import inspect
import logging
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from kregistry.import_hook import after_import

NAME = "late_package.engine"


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "late_package").mkdir()
    (tmp_path / "late_package" / "__init__.py").touch()
    (tmp_path / "late_package" / "engine.py").write_text("def warm(): return 'own'\n")
    (tmp_path / "late_package" / "data.txt").write_text("data")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield
    for name in (NAME, "late_package"):
        sys.modules.pop(name, None)


def test_once_at_the_first_import() -> None:
    finders = list(sys.meta_path)
    met: list[ModuleType] = []
    after_import(NAME, met.append)
    importlib.import_module("late_package")
    assert importlib.util.find_spec(NAME) is not None  # has_deep_gemm() of vLLM asks so
    assert met == [] and NAME not in sys.modules
    engine = importlib.import_module(NAME)
    assert met == [engine] and engine.warm() == "own"
    assert sys.meta_path == finders
    after_import(NAME, met.append)
    assert met == [engine, engine]
    importlib.reload(engine)
    assert met == [engine, engine]


def test_the_module_has_its_own_loader_and_the_spec_answers_as_before() -> None:
    after_import(NAME, lambda module: None)
    spec = importlib.util.find_spec(NAME)
    assert spec is not None and spec.loader is not None
    assert spec.loader.get_source(NAME) == "def warm(): return 'own'\n"  # type: ignore[attr-defined]
    engine = importlib.import_module(NAME)
    assert engine.__spec__ is not None
    assert type(engine.__loader__) is type(engine.__spec__.loader) is SourceFileLoader
    assert "exec_module" not in vars(engine.__spec__.loader)
    assert inspect.getsource(engine.warm) == "def warm(): return 'own'\n"


def test_resources_of_a_hooked_package() -> None:
    after_import("late_package", lambda module: None)
    assert importlib.resources.files("late_package").joinpath("data.txt").read_text() == "data"


def test_several_actions_for_one_module() -> None:
    finders, met = list(sys.meta_path), []
    for number in range(3):
        after_import(NAME, lambda module, number=number: met.append(number))  # type: ignore[misc]
    importlib.import_module(NAME)
    assert sorted(met) == [0, 1, 2] and sys.meta_path == finders


def test_an_action_that_fails_is_logged_and_the_import_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def fail(module: ModuleType) -> None:
        raise ValueError("of the action")

    after_import(NAME, fail)
    with caplog.at_level(logging.ERROR):
        assert importlib.import_module(NAME).warm() == "own"
        after_import(NAME, fail)
    assert caplog.text.count(f"kregistry's hook for the import of {NAME} failed") == 2
    assert caplog.text.count("ValueError: of the action") == 2


def test_a_module_that_fails_and_one_that_is_absent(tmp_path: Path) -> None:
    """A later import that succeeds still meets the action."""
    met: list[ModuleType] = []
    file = tmp_path / "late_package" / "engine.py"
    file.write_text("raise RuntimeError('of the module')\n")
    for name in (NAME, "late_package.absent"):
        after_import(name, met.append)
    with pytest.raises(RuntimeError, match="of the module"):
        importlib.import_module(NAME)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("late_package.absent")
    assert met == []
    file.write_text("value = 'a text of another length'\n")
    assert importlib.import_module(NAME).value and len(met) == 1


def test_it_needs_the_standard_library_only() -> None:
    code = "import sys; import kregistry.import_hook; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"attrs", "attr", "click", "logging", "pluggy", "torch", "yaml"} & set(done.stdout.split())
