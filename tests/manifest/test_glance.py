"""A glance sees kernel types and target, and nothing where only the reader knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from kregistry.manifest import load_manifest
from kregistry.manifest.glance import Glance, glance
from kregistry.registry import Registry

ROOT = Path(__file__).parent.parent.parent
TWO = """
version: 1
target: h100
models:
  a: {kernels: [{type: fp8_gemm_nt, shape: {n: 64, k: 64}}, {type: bf16_gemm_nt}]}
  b: {kernels: [{type: transform_sf}]}
"""


def seen(tmp_path: Path, text: str, models: tuple[str, ...] = (), target: str | None = None) -> Glance | None:
    file = tmp_path / "kernels.yaml"
    file.write_text(text)
    return glance(file, models, target)


def test_it_sees_what_the_reader_reads(registry: Registry) -> None:
    """For each model of the repository's own manifest."""
    file = ROOT / "kernels.yaml"
    manifest = load_manifest(file, registry, "h200")
    for model in manifest.models:
        found, read = glance(file, (model,), "h200"), manifest.select([model])
        assert found == Glance(frozenset(each.kernel_type for each in read.entries), read.target)


def test_models_and_target_are_chosen(tmp_path: Path) -> None:
    whole, b = seen(tmp_path, TWO), seen(tmp_path, TWO, ("b", "none"), "b200")
    assert whole is not None and (whole.kernel_types, whole.target.name) == (
        {"fp8_gemm_nt", "bf16_gemm_nt", "transform_sf"},
        "h100",
    )
    assert b is not None and (b.kernel_types, b.target.name) == ({"transform_sf"}, "b200")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "models: {",
        TWO.replace("target: h100", ""),
        TWO.replace("h100", "detect"),
        TWO.replace("h100", "{name: own, base: h100}"),
        TWO.replace("h100", "[h100]"),
        "target: h100\nmodels: [1]",
        "target: h100\nmodels: {a: [1], b: {kernels: {x: 1}}, c: {kernels: [1, {type: [2]}, {}]}, 3: null}",
        TWO.partition("models:")[0],
    ],
)
def test_what_it_does_not_understand(tmp_path: Path, text: str) -> None:
    assert seen(tmp_path, text) is None


def test_what_is_not_there(tmp_path: Path) -> None:
    assert seen(tmp_path, TWO, ("c",)) is None
    assert seen(tmp_path, TWO, target="h1000") is None
    assert glance(tmp_path / "none.yaml") is glance(tmp_path) is None
