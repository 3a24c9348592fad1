"""One direction: pipeline -> stages -> shared -> the rest of the room; no stage leads back to one before it."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import kregistry.compile

ROOM = "kregistry.compile"
#: From the top; a module imports only from its own floor and from lower ones.
FLOORS = (
    ("plan_and_build", "build_lock", "on_worker", "audit"),
    ("build_log", "built_plan", "session"),
    ("pipeline", "read_only", "shipped_kernels"),
    ("stages",),
    ("open_jobs", "shard", "schedule", "build_record", "shared"),
    ("job", "costs", "nvcc", "cpu_samples", "locked_kernels", "priorities", "executors"),
    ("build_report",),
    ("broken_calls", "cluster"),
)


def imports() -> dict[str, set[str]]:
    """Module of the room -> modules of the room that it imports, without the name of the room."""
    (place,) = kregistry.compile.__path__
    found: dict[str, set[str]] = {}
    for path in Path(place).rglob("*.py"):
        module = ".".join(path.relative_to(place).with_suffix("").parts)
        if not module.endswith("__init__"):
            nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
            names = [node.module or "" for node in nodes]
            found[module] = {name.removeprefix(f"{ROOM}.") for name in names if name.startswith(f"{ROOM}.")}
    return found


def floor(module: str) -> int:
    found = [number for number, names in enumerate(FLOORS) if module.partition(".")[0] in names]
    assert len(found) == 1, f"{module} stands on no floor: add it to FLOORS"
    return found[0]


def test_no_module_imports_from_a_higher_floor() -> None:
    upward = [
        f"{module} imports {other}"
        for module, others in imports().items()
        for other in others
        if floor(other) < floor(module)
    ]
    assert upward == []


def test_there_is_no_cycle() -> None:
    assert len(list(TopologicalSorter(imports()).static_order())) == len(imports())


def test_only_the_pipeline_knows_all_stages() -> None:
    """Nobody else outside of the stages imports one of them, but for the build that only reads a store."""
    assert {
        module.partition(".")[0]
        for module, others in imports().items()
        for other in others
        if other.startswith("stages.")
    } == {"pipeline", "read_only", "stages"}
