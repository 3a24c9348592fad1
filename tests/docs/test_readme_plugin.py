"""The kernel type that the README shows works as it stands there: listed, planned, with one kernel."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

from kregistry.manifest.document import parse_document
from kregistry.manifest.reader import read_manifest
from kregistry.plan import make_plan
from kregistry.registry import Registry
from tests.docs.blocks import blocks

MANIFEST = """\
version: 1
target: h100
models:
  mine:
    kernels:
      - {type: get_mn_major_tma_aligned_tensor, shape: {columns: 56}, rows: {stop: 64}}
"""


def test_readme_kernel_type_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = next(each for each in blocks("python") if "class TransposeScales" in each.text)
    (tmp_path / "readme_plugin.py").write_text(block.text)
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry(load_entry_points=False)
    registry.register(import_module("readme_plugin"))
    try:
        plan = make_plan(read_manifest(parse_document(MANIFEST, "kernels.yaml"), registry), registry, processes=1)
    finally:
        del sys.modules["readme_plugin"]
    assert plan.problems() == ()
    assert [kernel.name for kernel in plan.kernels.values()] == ["transpose_fp32"]
