"""Manifest: the kernel types that a model calls, with their shapes and ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kregistry.manifest.model import Entry, Manifest, Range

if TYPE_CHECKING:
    from kregistry.manifest.reader import load_manifest
    from kregistry.manifest.targets import named_target

__all__ = ["Entry", "Manifest", "Range", "load_manifest", "named_target"]


def __getattr__(name: str) -> Any:
    """Import the reader on first use: a build that knows its kernels from a lock file starts compilers before."""
    if name == "load_manifest":
        from kregistry.manifest.reader import load_manifest

        return load_manifest
    if name == "named_target":
        from kregistry.manifest.targets import named_target

        return named_target
    raise AttributeError(f"module 'kregistry.manifest' has no attribute {name!r}")
