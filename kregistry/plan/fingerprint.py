"""Fingerprint: one digest of everything that a plan depends on. Equal fingerprints mean equal plans."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from kregistry.deep_gemm.compiler import Compiler
from kregistry.deep_gemm.cubin_inputs import profile_inputs, remembered_tree_digest, tree_digest
from kregistry.deep_gemm.environment import planned
from kregistry.deep_gemm.included_headers import remembered_toolkit_headers
from kregistry.deep_gemm.version import series_of
from kregistry.kernel import CompilerCommand
from kregistry.manifest import Manifest
from kregistry.registry import Registry
from kregistry.target import Target
from kregistry.toolchain import Toolchain


def fingerprint(
    manifest: Manifest, registry: Registry, toolchain: Toolchain, environment: Mapping[str, str] = os.environ
) -> str:
    """Digest of entries, target, kernel types and their source, DeepGEMM and its headers, versions and environment."""
    kernel_types = {entry.kernel_type for entry in manifest.entries}
    parts = {
        "kregistry": [metadata.version("kregistry"), _own_source()],
        "target": _device(manifest.target),
        "entries": [(entry.model, entry.label, str(entry.shape), str(entry.range)) for entry in manifest.entries],
        "kernel_types": _provenances(registry, kernel_types),
        "versions": toolchain.versions.to_json(),
        "cuda_home": str(toolchain.cuda.home),
        "deep_gemm": _deep_gemm(),
        "compiler": _compiler(toolchain.cuda.compiler),
        "environment": planned(environment, series_of(toolchain.versions.deep_gemm)),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _device(target: Target) -> list[object]:
    """What DeepGEMM's host code asks of a GPU. Memory counts roughly: each driver keeps another part of it.

    The name does not count, so that a plan for ``h200`` is that of a device which is detected as one.
    """
    return [target.compute_capability, target.num_sms, target.l2_bytes, round(target.memory_bytes / (16 << 30))]


def _own_source() -> str:
    """The text of this package, which an editable install changes without a new version."""
    package = Path(__file__).parents[1]
    files = sorted(path for suffix in ("py", "c", "sh") for path in package.rglob(f"*.{suffix}"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def _provenances(registry: Registry, names: Iterable[str]) -> dict[str, list[str]]:
    """Who provides each kernel type, and the text of the top-level package (or module) that defines it."""
    registrations = {name: registry.registration(name) for name in sorted(names)}
    packages = {name: type(each.kernel_type).__module__.partition(".")[0] for name, each in registrations.items()}
    texts = {package: _text_of(package) for package in set(packages.values())}
    return {name: [str(each.provider), texts[packages[name]]] for name, each in registrations.items()}


def _text_of(package: str) -> str:
    module = sys.modules[package]
    places = [Path(place) for place in getattr(module, "__path__", ())]
    files = [path for place in places for path in sorted(place.rglob("*.py"))] or [Path(str(module.__file__))]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def _deep_gemm() -> list[str]:
    """Where DeepGEMM is (its version 0.1 names kernels after that), and the content of all that it consists of."""
    parts: list[str] = []
    for place in _places():
        files = sorted([*place.glob("*.so"), *place.glob("*.py")])
        parts += [str(place), remembered_tree_digest(place / "include")]
        parts += [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return parts


def _compiler(compiler: Compiler) -> list[object]:
    """What decides cubins besides DeepGEMM and the entries; the version of the compiler is among the versions."""
    sources = [
        path for place in _places() for path in sorted((place / "include" / "deep_gemm" / "impls").glob("*.cuh"))
    ]
    text = "".join(f"#include <deep_gemm/impls/{path.name}>\n" for path in sources).encode()
    includes = tuple(place / "include" for place in _places())
    return [
        remembered_toolkit_headers(text, includes, compiler.includes),
        profile_inputs(compiler),
        compiler.flags.prepended,
        compiler.flags.appended,
        [tree_digest(path) for path in CompilerCommand.parse(compiler.flags.decide_code).includes],
    ]


def _places() -> list[Path]:
    spec = importlib.util.find_spec("deep_gemm")
    return [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
