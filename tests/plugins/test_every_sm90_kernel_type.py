"""The manifest of the hardware run holds what its name says: every kernel type of SM90, at 200 values or more."""

from __future__ import annotations

from pathlib import Path

from kregistry import Registry, get_target, load_manifest
from tests.plugins.stack import VERSIONS

MANIFEST = Path(__file__).parent.parent.parent / "benchmarks" / "every-sm90-kernel-type.yaml"


def test_every_kernel_type_of_sm90_is_in_it() -> None:
    registry, h100 = Registry(), get_target("h100")
    entries = load_manifest(MANIFEST, registry).entries
    claimed = {name for name in registry.names() if registry[name].unsupported_reason(h100, VERSIONS["0.1"]) is None}
    assert {entry.kernel_type for entry in entries} == claimed
    assert min(len(entry.range.values()) for entry in entries) >= 200
