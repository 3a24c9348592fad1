"""Fingerprint: one digest of everything that a plan depends on. Equal fingerprints mean equal plans."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from kregistry.deep_gemm.environment import PATHS_ONLY, PREFIXES
from kregistry.kernel import tree_digest
from kregistry.manifest import Manifest
from kregistry.registry import Registry
from kregistry.toolchain import Toolchain


def fingerprint(
    manifest: Manifest, registry: Registry, toolchain: Toolchain, environment: Mapping[str, str] = os.environ
) -> str:
    """Digest of entries, target, kernel types and their source, DeepGEMM and its headers, versions and environment."""
    kernel_types = {entry.kernel_type for entry in manifest.entries}
    parts = {
        "kregistry": [metadata.version("kregistry"), _own_source()],
        "target": repr(manifest.target),
        "entries": [(entry.model, entry.label, str(entry.shape), str(entry.range)) for entry in manifest.entries],
        "kernel_types": {name: _provenance(registry, name) for name in sorted(kernel_types)},
        "versions": toolchain.versions.to_json(),
        "cuda_home": str(toolchain.cuda.home),
        "deep_gemm": _deep_gemm(),
        "environment": {
            name: value
            for name, value in sorted(environment.items())
            if name.startswith(PREFIXES) and name not in PATHS_ONLY
        },
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _own_source() -> str:
    """The text of this package, which an editable install changes without a new version."""
    package = Path(__file__).parents[1]
    files = sorted(path for suffix in ("py", "c", "sh") for path in package.rglob(f"*.{suffix}"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def _provenance(registry: Registry, name: str) -> list[str]:
    """Who provides a kernel type, and the text of the top-level package (or module) that defines it."""
    registration = registry.registration(name)
    package = sys.modules[type(registration.kernel_type).__module__.partition(".")[0]]
    places = [Path(place) for place in getattr(package, "__path__", ())]
    files = [path for place in places for path in sorted(place.rglob("*.py"))] or [Path(str(package.__file__))]
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()
    return [str(registration.provider), digest]


def _deep_gemm() -> list[str]:
    """Where DeepGEMM is (its version 0.1 names kernels after that), its headers, and its compiled part."""
    spec = importlib.util.find_spec("deep_gemm")
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    parts: list[str] = []
    for place in places:
        parts += [str(place), tree_digest(place / "include")]
        parts += [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in sorted(place.glob("*.so"))]
    return parts
