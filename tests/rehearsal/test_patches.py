"""Patches fail loudly: a function that is gone or has other parameters is named."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from kregistry.rehearsal.patches import Patch, PatchError, apply, patch, replace
from kregistry.rehearsal.patches.catalogue import PATCHES, VERSIONS, before_import


def module() -> Any:
    found = ModuleType("engine")

    def run(a: int, b: int) -> int:
        return a + b

    vars(found)["run"] = run
    return found


def test_a_function_is_replaced_and_the_old_one_returned() -> None:
    engine = module()
    old = replace(engine, "run", lambda a, b: 0, parameters="a b")
    assert (engine.run(1, 2), old(1, 2)) == (0, 3)


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("walk", None, "AttributeError: walk"),
        ("run", "a b c", "TypeError: engine.run has the parameters (a b), and the patch knows (a b c)"),
    ],
)
def test_a_change_of_the_engine_is_named(name: str, parameters: str | None, text: str) -> None:
    @patch("an-engine")
    def stops_it() -> None:
        """It would run."""
        replace(module(), name, None, parameters=parameters)

    with pytest.raises(PatchError) as caught:
        apply([stops_it])
    assert str(caught.value) == f"the patch stops_it does not fit the installed an-engine: {text}"


def test_static_methods_stay_static() -> None:
    class Queue:
        @staticmethod
        def create() -> str:
            return "real"

    replace(Queue, "create", lambda: "fake")
    assert Queue().create() == "fake"


@pytest.mark.parametrize("engine", VERSIONS)
def test_every_patch_says_why(engine: str) -> None:
    patches: tuple[Patch, ...] = (*before_import(engine), *PATCHES[engine])
    assert patches
    for each in patches:
        assert each.why.endswith(".") and each.package
    assert len({each.name for each in patches}) == len(patches)
