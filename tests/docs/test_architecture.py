"""docs/architecture.md names every room of the package, and every page of the documentation is linked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
PACKAGE = ROOT / "kregistry"


def rooms() -> list[str]:
    packages = [f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")]
    modules = [path.name for path in PACKAGE.glob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    return sorted(packages + modules)


@pytest.mark.parametrize("room", rooms())
def test_every_room_has_a_row_with_its_job(room: str) -> None:
    rows = re.findall(r"^\| (`.+`) \| [A-Z].+\. \|$", PAGE, re.MULTILINE)
    assert sum(f"`{room}`" in names for names in rows) == 1


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_every_page_is_linked_from_the_readme_or_another_page(path: Path) -> None:
    others = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert any(re.search(rf"\]\([^)]*{re.escape(path.name)}", other.read_text()) for other in others if other != path)
