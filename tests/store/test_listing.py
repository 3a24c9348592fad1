"""Folders that another process removes while they are listed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kregistry.store.listing import matching


@pytest.mark.parametrize("pattern", ["*/*/*.json", "**/*.json"])
def test_a_folder_that_is_removed_meanwhile_holds_nothing(tmp_path: Path, pattern: str) -> None:
    folders = [tmp_path / "kernels" / name for name in ("00", "01", "02")]
    for folder in folders:
        (folder / "entry").mkdir(parents=True)
        (folder / "entry" / "kernel.json").touch()
    found = matching(tmp_path / "kernels", pattern)
    first = next(found)
    for folder in folders:
        shutil.rmtree(folder / "entry")
    assert first.name == "kernel.json"
    assert list(found) == []


def test_a_directory_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert list(matching(tmp_path / "none", "*")) == []
