"""docs/catalogue.md is up to date, as far as one stack can show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kregistry import Registry
from tests.plugins.catalogue_cases import CASES
from tests.plugins.planned_counts import TARGETS, name_of
from tests.plugins.stack import VERSIONS
from tools import catalogue


def test_the_page_is_what_write_would_write() -> None:
    """Mend it with `python tools/catalogue.py write`."""
    assert catalogue.DOCUMENT.read_text() == catalogue.render()
    assert catalogue.main("check") == 0


def test_every_kernel_type_is_on_the_page() -> None:
    page = catalogue.DOCUMENT.read_text()
    names = [each.kernel_type.name for each in Registry().registrations() if each.provider.distribution == "kregistry"]
    assert len(names) > 10
    assert [name for name in names if f"\n| `{name}` |" not in page] == []


def test_every_typical_shape_has_counts_of_both_stacks() -> None:
    """Mend it with `python tools/catalogue.py plan`, run on each stack. The counts themselves are planned elsewhere."""
    recorded = json.loads(catalogue.COUNTS.read_text())
    assert {stack: versions["deep_gemm"] for stack, versions in recorded["versions"].items()} == VERSIONS
    assert list(recorded["counts"]) == list(dict.fromkeys(map(name_of, CASES)))
    incomplete = [
        name
        for name, columns in recorded["counts"].items()
        if list(columns) != list(VERSIONS) or any(list(column) != list(TARGETS) for column in columns.values())
    ]
    assert incomplete == []


@pytest.mark.parametrize("change", [("yes", "no"), ("| 25 |", "| 26 |")], ids=["support", "count"])
def test_a_change_is_noticed(change: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "catalogue.md"
    copy.write_text(catalogue.DOCUMENT.read_text().replace(*change, 1))
    monkeypatch.setattr(catalogue, "DOCUMENT", copy)
    assert catalogue.main("check") == 1
    catalogue.main("write")
    assert catalogue.main("check") == 0
