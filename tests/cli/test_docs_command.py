"""kregistry docs: the pages that messages name are installed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from command_line import Result

from kregistry.cli.docs_command import directory

Run = Callable[..., Result]

ROOT = Path(__file__).resolve().parents[2]


def test_every_page_is_listed_with_its_title(kregistry: Run) -> None:
    result = kregistry("docs")
    listed = dict(line.split(maxsplit=1) for line in result.out.splitlines())
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "docs").glob("*.md"))
    assert listed["manifest"] == "The manifest"


def test_a_page_is_printed_as_it_is(kregistry: Run) -> None:
    assert kregistry("docs", "hooks").out == (ROOT / "docs" / "hooks.md").read_text()


def test_an_unknown_page(kregistry: Run) -> None:
    result = kregistry("docs", "manifst")
    assert (result.code, result.out) == (2, "")
    assert result.err == "error: unknown page 'manifst'\nhint: did you mean 'manifest'?\n"


def test_pages_that_messages_name_exist() -> None:
    named = {
        page
        for package in ("kregistry", "plugins")
        for path in (ROOT / package).rglob("*.py")
        for page in re.findall(r"kregistry docs ([a-z][\w-]*)|docs/([\w-]+)\.md", path.read_text())
        for page in page
        if page
    }
    assert "broken-kernels" in named
    assert named <= {path.stem for path in directory().glob("*.md")}
