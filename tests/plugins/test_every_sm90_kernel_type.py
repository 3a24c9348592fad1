"""The manifest of the hardware run holds what its name says: every kernel type of SM90, at 200 values or more."""

from __future__ import annotations

from pathlib import Path

from kregistry import Registry, get_target, load_manifest
from tests.plugins.stack import VERSIONS

MANIFEST = Path(__file__).parent.parent.parent / "benchmarks" / "every-sm90-kernel-type.yaml"


def claimed(version: str) -> set[str]:
    registry, h100 = Registry(), get_target("h100")
    return {name for name in registry.names() if registry[name].unsupported_reason(h100, VERSIONS[version]) is None}


def test_every_kernel_type_of_sm90_is_in_it() -> None:
    manifest = load_manifest(MANIFEST, Registry())
    first, second = ({each.kernel_type for each in manifest.select([model]).entries} for model in manifest.models)
    assert first == claimed("0.1")
    assert second == claimed("0.2") - claimed("0.1")
    assert min(len(entry.range.values()) for entry in manifest.entries) >= 200
