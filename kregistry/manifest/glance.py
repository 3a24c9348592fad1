"""A glance at a manifest: which kernel types it names for which target, before plugins are loaded.

Nothing is checked here: the reader reports what is wrong, and a glance at a file with a problem may see nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from attrs import frozen

from kregistry.errors import KregistryError
from kregistry.manifest.document import read_document
from kregistry.target import TARGETS, Target


@frozen
class Glance:
    """What a manifest seems to ask for.

    Attributes:
        kernel_types: the names of kernel types, which need not exist.
    """

    kernel_types: frozenset[str]
    target: Target


def glance(file: Path, models: Collection[str] = (), target: str | None = None) -> Glance | None:
    """Look at a manifest.

    Args:
        models: only these; default: all.
        target: the name of a known target, in place of the manifest's own.

    Returns:
        ``None`` if the file cannot be read, names no kernel type for these models, or a target that only the reader
        knows.
    """
    try:
        data = _mapping(read_document(file).data)
    except KregistryError:
        return None
    named = target or data.get("target")
    known = TARGETS.get(named) if isinstance(named, str) else None
    every = _mapping(data.get("models"))
    chosen = [_mapping(value) for name, value in every.items() if not models or name in models]
    kernels = [_mapping(kernel) for model in chosen for kernel in _sequence(model.get("kernels"))]
    types = frozenset(name for kernel in kernels if isinstance(name := kernel.get("type"), str))
    return Glance(types, known) if known is not None and types else None


def _mapping(value: object) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
