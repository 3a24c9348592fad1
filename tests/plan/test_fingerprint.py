"""A fingerprint changes with everything that a plan depends on, and with nothing else."""

from __future__ import annotations

from attrs import evolve

from kregistry.manifest import Manifest
from kregistry.plan.fingerprint import fingerprint
from kregistry.registry import Registry
from kregistry.target import get_target
from kregistry.toolchain import Toolchain


def test_same_inputs_same_fingerprint(tiny_manifest: Manifest, toolchain: Toolchain) -> None:
    assert fingerprint(tiny_manifest, Registry(), toolchain, {}) == fingerprint(
        tiny_manifest, Registry(), toolchain, {"HOME": "elsewhere", "DG_JIT_CACHE_DIR": "elsewhere"}
    )


def test_every_input_counts(tiny_manifest: Manifest, toolchain: Toolchain) -> None:
    (entry,) = tiny_manifest.entries
    changed_range = evolve(tiny_manifest, entries=(evolve(entry, range=evolve(entry.range, stop=99)),))
    other_torch = evolve(toolchain, versions=evolve(toolchain.versions, torch="9.9"))
    registry = Registry()
    prints = [
        fingerprint(tiny_manifest, registry, toolchain, {}),
        fingerprint(changed_range, registry, toolchain, {}),
        fingerprint(evolve(tiny_manifest, target=get_target("h20")), registry, toolchain, {}),
        fingerprint(tiny_manifest, registry, other_torch, {}),
        fingerprint(tiny_manifest, registry, toolchain, {"DG_JIT_DEBUG": "1"}),
    ]
    assert len(set(prints)) == len(prints)
