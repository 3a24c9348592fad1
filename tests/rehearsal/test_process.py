"""What the process of an engine says of an error."""

from __future__ import annotations

import importlib.util
import runpy
from pathlib import Path
from typing import Any

import pytest

from kregistry.rehearsal.patches import PatchError
from kregistry.rehearsal.process import _kind, _place, _text


def test_an_assertion_without_a_message_says_what_it_asserts(tmp_path: Path) -> None:
    """As engines have them for sizes that do not divide."""
    (tmp_path / "engine.py").write_text("def load(heads: int, tp: int) -> None:\n    assert heads % tp == 0\n")
    spec = importlib.util.spec_from_file_location("engine", tmp_path / "engine.py")
    assert spec is not None and spec.loader is not None
    engine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(engine)
    with pytest.raises(AssertionError) as caught:
        engine.load(64, 3)
    assert _text(caught.value) == "AssertionError: assert heads % tp == 0"


def test_the_place_of_an_error_is_the_engine_and_not_what_checks_values_for_it(tmp_path: Path) -> None:
    checks = tmp_path / "pydantic" / "checks.py"
    checks.parent.mkdir()
    checks.write_text("def check(value):\n    raise ValueError(value)\n")
    engine = tmp_path / "engine.py"
    engine.write_text("def load(check):\n\n    check(3)\n")
    names: dict[str, Any] = {}
    for file in (checks, engine):
        names.update(runpy.run_path(str(file)))
    with pytest.raises(ValueError, match="3") as caught:
        names["load"](names["check"])
    assert _place(caught.value) == f"{engine}:3"


def test_other_errors_have_their_type_and_message() -> None:
    assert _text(ValueError("tp 3 is wrong")) == "ValueError: tp 3 is wrong"
    assert _text(PatchError("it does not fit")) == "it does not fit"
    assert _text(SystemExit(2)) == "", "the parser of the arguments has said why"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PatchError("x"), "patch"),
        (ImportError("x"), "patch"),
        (ValueError("x"), "engine"),
        (RuntimeError("Not enough memory. Please try to increase --mem-fraction-static."), "memory"),
        (ValueError("No available memory for the cache blocks."), "memory"),
    ],
)
def test_the_kind_of_an_error(error: Exception, kind: str) -> None:
    assert _kind(error) == kind
