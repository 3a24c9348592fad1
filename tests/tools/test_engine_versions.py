"""The page of engine versions: what is read from sources, and that it is up to date for an installed engine."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tools.engine_versions import NEEDS, PAGE, Need, look, versions

NEED = Need("x", "a/b.py", ("new", "Old.method"), ("m", "n"), "its own")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (None, "no: its own"),
        ("", "no: its own"),
        ("def new(m, *, n, k=1): ...", "`new`"),
        ("def new(k): ...", "`new`, but without m, n: its own"),
        ("class Old:\n    def method(self, m, n): ...", "`Old.method`"),
        ("from somewhere import something as new", "`new`"),
        ("new = [1]", "`new`"),
    ],
)
def test_what_a_source_has(tmp_path: Path, source: str | None, found: str) -> None:
    if source is not None:
        (tmp_path / "vllm" / "a").mkdir(parents=True)
        (tmp_path / "vllm" / "a" / "b.py").write_text(source)
    assert look(tmp_path, "vllm", NEED) == found


def test_a_wheel_says_its_version_and_what_it_pins(tmp_path: Path) -> None:
    info = tmp_path / "sglang-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: sglang\nVersion: 1.2\nRequires-Dist: torch==2.11.0\nRequires-Dist: torchao\n")
    assert versions([tmp_path]) == {"sglang": {"1.2": (tmp_path, "torch==2.11.0")}, "vllm": {}}


@pytest.mark.engines
@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_the_installed_version_is_as_the_page_says(engine: str) -> None:
    spec = importlib.util.find_spec(engine)
    assert spec is not None and spec.origin is not None
    directory = Path(spec.origin).parent.parent
    [version] = versions([directory])[engine]
    tables = [_cells(block) for block in PAGE.read_text().split("\n\n") if block.startswith("| ")]
    [(head, *rows)] = [table for table in tables if version in table[0]]
    written = {row[0]: row[head.index(version)] for row in rows}
    assert {need.purpose: look(directory, engine, need) for need in NEEDS[engine]}.items() <= written.items()


def _cells(table: str) -> list[list[str]]:
    return [[cell.strip(" |") for cell in line.split(" | ")] for line in table.splitlines() if line.startswith("| ")]
