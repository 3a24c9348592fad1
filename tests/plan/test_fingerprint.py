"""A fingerprint changes with everything that a plan depends on, and with nothing else."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

import pytest
from attrs import evolve
from shapes import entry_of

from kregistry import KernelType, hookimpl
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


def test_the_source_of_the_plugin_counts(toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a module of the package that the kernel type only imports from."""
    package = tmp_path / "some_plugin"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "shared.py").write_text("NUMBER = 1\n")
    (package / "kinds.py").write_text("from sample_kernel_types import Prenorm\n\n\nclass Mine(Prenorm):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    kind = importlib.import_module("some_plugin.kinds").Mine()
    registry = Registry(load_entry_points=False)

    class Plugin:
        @hookimpl
        def kregistry_kernel_types(self) -> Iterable[KernelType]:
            yield kind

    registry.register(Plugin())
    entry = entry_of(kind)
    manifest = Manifest("k.yaml", get_target("h100"), ("a",), (entry,), {})
    before = fingerprint(manifest, registry, toolchain, {})
    assert fingerprint(manifest, registry, toolchain, {}) == before
    (package / "shared.py").write_text("NUMBER = 2\n")
    assert fingerprint(manifest, registry, toolchain, {}) != before
