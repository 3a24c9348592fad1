"""Installed distributions for tests: a module and its metadata in a directory on the module search path."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

#: A plugin that offers one kernel type; formatted with the name of a class of sample_kernel_types.
OFFERS = """
from kregistry import hookimpl

@hookimpl
def kregistry_kernel_types():
    from sample_kernel_types import {0}
    return [{0}()]
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a distribution with one module and one plugin, and returns the module's file.

    ``group`` is that of its entry point; ``offers`` (``":NAME"``) is what the entry point names in the module.
    """
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def install(
        name: str, version: str, source: str, *, plugin: str, group: str = "kregistry", offers: str = ""
    ) -> Path:
        module = f"{name.replace('-', '_')}_module"
        path = site / f"{module}.py"
        path.write_text(dedent(source))
        metadata = site / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{plugin} = {module}{offers}\n")
        return path

    yield install
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and Path(file).is_relative_to(site):
            del sys.modules[name]
