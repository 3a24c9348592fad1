"""Manifests in few words."""

from __future__ import annotations

from kregistry.errors import ManifestError
from kregistry.manifest import Manifest
from kregistry.manifest.document import parse_document
from kregistry.manifest.reader import read_manifest
from kregistry.registry import Registry
from kregistry.target import Target

#: The first line of an item of ``kernels`` in :func:`with_kernels`.
FIRST_LINE = 6


def read(text: str, registry: Registry | None = None, target: Target | str | None = None) -> Manifest:
    return read_manifest(parse_document(text, "k.yaml"), registry or Registry(), target)


def problems(text: str, registry: Registry | None = None) -> list[str]:
    """Every problem, without the name of the file, hints included; a manifest without one is refused."""
    try:
        read(text, registry)
    except ManifestError as error:
        lines = str(error).splitlines()
        assert lines[-1] == f"{len(error.problems)} problem{'s' * (len(error.problems) != 1)} in k.yaml"
        return [str(problem).removeprefix("k.yaml:").replace("\n  hint: ", " | ") for problem in error.problems]
    raise AssertionError("the manifest is valid")


def with_kernels(*items: str) -> str:
    """A manifest with these items, a line each, from line 6, column 9."""
    return "version: 1\ntarget: h100\nmodels:\n  v3:\n    kernels:\n" + "".join(f"      - {item}\n" for item in items)
