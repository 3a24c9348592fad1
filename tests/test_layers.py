"""The house: a module imports only from lower floors, no two import each other, and every folder says its one job."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
from imports import Import, cycles, imports, modules, upward

import kregistry

ROOT = Path(__file__).parent.parent
#: From the bottom. Rooms of one floor do not know each other.
FLOORS = (
    ("errors", "import_hook"),
    (
        "bounded_input",
        "call_watch",
        "entry_points",
        "full_disk",
        "kernel",
        "machine",
        "python_child",
        "scratch",
        "target",
        "user_cache",
        "watchdog",
    ),
    ("kernel_type",),
    ("manifest",),
    ("events",),
    ("store",),
    ("trust",),
    ("deep_gemm", "remote"),
    ("toolchain",),
    ("hookspecs", "event_delivery"),
    ("event_bus",),
    ("registry",),
    ("stub",),
    ("plan", "hf_config"),
    ("verify",),
    ("compile",),
    ("warm_up",),
    ("recording",),
    ("serving",),
    ("jit_monitor",),
    ("conformance", "report"),
    ("integrations", "rehearsal"),
    # The public names, imported on first use. What stands below does not go through them.
    ("kregistry",),
    ("scaffold",),
    ("cli", "_pytest_plugin"),
    ("__main__",),
)


@cache
def every_import() -> list[Import]:
    return imports(ROOT, "kregistry")


def test_every_room_stands_on_one_floor() -> None:
    rooms = [room for floor in FLOORS for room in floor]
    present = {name.split(".")[1] for name in modules(ROOT, "kregistry") if "." in name} | {"kregistry"}
    assert sorted(rooms) == sorted(present)


def test_no_import_leads_upward() -> None:
    offending = [str(each) for each in upward(every_import(), FLOORS)]
    assert not offending, "imports of a higher floor, or of a neighbour:\n" + "\n".join(offending)


def test_no_modules_import_each_other() -> None:
    """Of the public names, which are imported on first use, this is true by the floors above."""
    found = [each for each in every_import() if each.source != "kregistry"]
    offending = [
        "\n".join([" <-> ".join(cycle), *(f"  {each}" for each in found if {each.source, each.target} <= {*cycle})])
        for cycle in cycles(found)
    ]
    assert not offending, "modules that import each other:\n" + "\n".join(offending)


def test_plugins_use_public_names_only() -> None:
    offending = [
        f"{each.place}: {each.target}.{each.name}"
        for each in imports(ROOT, "plugins", "kregistry")
        if each.target != "kregistry" or each.name not in kregistry.__all__
    ]
    assert not offending, "plugins import names that are not public:\n" + "\n".join(offending)


def test_no_two_classes_have_one_name() -> None:
    """Names of one meaning each; private classes, and plugins, may repeat a name."""
    homes: dict[str, list[str]] = {}
    for module, path in modules(ROOT, "kregistry").items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)
    repeated = [f"{name}: {', '.join(places)}" for name, places in homes.items() if len(places) > 1]
    assert not repeated, "classes of one name:\n" + "\n".join(repeated)


FOLDERS = [path for path in modules(ROOT, "kregistry").values() if path.name == "__init__.py"]


@pytest.mark.parametrize("path", FOLDERS, ids=[str(path.parent.relative_to(ROOT)) for path in FOLDERS])
def test_every_folder_says_its_job_in_one_sentence(path: Path) -> None:
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]
    assert first.endswith(".") and ". " not in " ".join(first.split()), f"{path.relative_to(ROOT)}: {first!r}"


# ---- the checker itself --------------------------------------------------------------------------------------


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A package of three floors without a fault."""
    for file, text in {
        "__init__.py": "",
        "low.py": "import os",
        "room/__init__.py": "from house.room.one import x",
        "room/one.py": "from house import low\nx = 1",
        "room/two.py": "from .one import x",
        "high.py": "import house.room.two",
        "data/script.py": "import house.high",
    }.items():
        path = tmp_path / "house" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


HOUSE = (("low",), ("room",), ("high",))


def faults(house: Path) -> tuple[list[str], list[tuple[str, ...]]]:
    found = imports(house, "house")
    return [str(each) for each in upward(found, HOUSE)], cycles(found)


def test_a_house_in_order(house: Path) -> None:
    assert faults(house) == ([], [])
    assert imports(house, "house")[0] == Import("house/high.py:1", "house.high", "house.room.two")


UPWARD = {
    "plain": ("import house.high", 1),
    "a name of it": ("from house.high import y", 1),
    "the module as a name": ("from house import high", 1),
    "in a function": ("def f():\n    from house.high import y", 2),
    "for type checkers": ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import house.high", 3),
}


@pytest.mark.parametrize(("text", "line"), UPWARD.values(), ids=UPWARD.keys())
def test_a_planted_upward_import_is_found(house: Path, text: str, line: int) -> None:
    (house / "house" / "low.py").write_text(text)
    found, circles = faults(house)
    assert found == [f"house/low.py:{line}: house.low -> house.high"]
    assert circles == [("house.high", "house.low", "house.room.one", "house.room.two")]


def test_a_relative_upward_import_is_found(house: Path) -> None:
    (house / "house" / "room" / "one.py").write_text("from .. import high\nfrom ..high import y")
    expected = [f"house/room/one.py:{line}: house.room.one -> house.high" for line in (1, 2)]
    assert faults(house)[0] == expected


def test_a_neighbour_is_not_imported(house: Path) -> None:
    found = upward(imports(house, "house"), (("low", "room"), ("high",)))
    assert [str(each) for each in found] == ["house/room/one.py:1: house.room.one -> house.low"]


def test_a_planted_cycle_in_a_room_is_found(house: Path) -> None:
    (house / "house" / "room" / "one.py").write_text("def f():\n    from house.room.two import g")
    assert faults(house) == ([], [("house.room.one", "house.room.two")])


def test_a_room_that_imports_itself_through_its_door_is_found(house: Path) -> None:
    (house / "house" / "room" / "one.py").write_text("from house.room import x")
    assert faults(house) == ([], [("house.room", "house.room.one")])
