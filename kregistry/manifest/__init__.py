"""Manifest: the kernel types that a model calls, with their shapes and ranges."""

from kregistry.manifest.model import Entry, Manifest, Range
from kregistry.manifest.reader import load_manifest
from kregistry.manifest.targets import named_target

__all__ = ["Entry", "Manifest", "Range", "load_manifest", "named_target"]
