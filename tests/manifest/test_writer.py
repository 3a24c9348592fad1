"""Text that is written can be read again, whatever a model is called."""

from __future__ import annotations

import pytest
import yaml

from kregistry.manifest.writer import dump_manifest, flow


@pytest.mark.parametrize("model", ["recorded", "a: b", "on", "1.5", "é", "# no comment"])
def test_a_manifest_reads_back(model: str) -> None:
    entry = {"type": "gemm", "shape": {"n": 8, "splits": "none", "layout": "row"}, "m": {"start": 1, "stop": 4}}
    content = {"version": 1, "target": "h100", "models": {model: {"kernels": [entry, entry]}}}
    text = dump_manifest(content)
    assert yaml.safe_load(text) == content
    assert len(text.splitlines()) == 7, "one entry a line"
    assert dump_manifest({**content, "models": {model: {"kernels": []}}}).endswith("    kernels: []\n")


@pytest.mark.parametrize("value", ["plain", "no", {"n": 1}, [1, "2"], 3, None, "long " * 100])
def test_a_value_stands_on_one_line(value: object) -> None:
    text = flow(value)
    assert "\n" not in text and yaml.safe_load(text) == value
