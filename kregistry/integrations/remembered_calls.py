"""Calls that no manifest covered, remembered beside the store: the next start of the same model builds them early.

STORE/first_calls/MODEL/ENTRY.yaml    a manifest with one entry; MODEL and ENTRY are digests

One file for each entry, so that several processes can write at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kregistry.integrations.start_folder import Request
from kregistry.kernel_type.display import manifest_value
from kregistry.manifest import Entry
from kregistry.manifest.writer import dump_manifest, flow
from kregistry.store import Store, atomic


def model_key(request: Request) -> str:
    """A digest of the model and its deployment: what its calls depend on."""
    parts = [request.engine, request.config, request.deployment]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def folder(store: Store, key: str) -> Path:
    """Where the calls of a model and deployment are remembered."""
    return store.directory / "first_calls" / key


def remember(store: Store, key: str, entry: Entry) -> None:
    """Keep an entry for the next start.

    Raises:
        StorageError, OSError: the store cannot be written.
    """
    text = dump_manifest({"version": 1, "target": "detect", "models": {"remembered": {"kernels": [as_data(entry)]}}})
    directory = folder(store, key)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.yaml"
    if not path.exists():
        atomic.replace_file(path, text.encode())


def remembered(store: Store, key: str) -> Iterator[Path]:
    """The manifests that :func:`remember` wrote for a model."""
    directory = folder(store, key)
    return iter(sorted(directory.glob("*.yaml")) if directory.is_dir() else ())


def as_data(entry: Entry) -> dict[str, Any]:
    """An entry as it stands in a manifest."""
    span = {"start": entry.range.start, "stop": entry.range.stop, "step": entry.range.step}
    data: dict[str, Any] = {
        "type": entry.kernel_type,
        "shape": {name: manifest_value(value) for name, value in entry.shape.shown().items()},
        entry.range.name: span,
    }
    return {**data, "label": entry.label} if entry.label else data


def as_line(entry: Entry) -> str:
    """An entry as one line of a manifest, for a message."""
    return f"- {flow(as_data(entry))}"
