"""An OCI image with the kernels of one plan, written with the standard library: a config and one layer.

It is an ordinary image, so that every registry takes it and a node can mount it as a volume. Its layer is a directory
remote below ``/kregistry``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from kregistry.errors import storage_errors
from kregistry.remote.bundle import compressed
from kregistry.store.atomic import ABANDONED_SECONDS, remove_leftovers, scratch_name, write_directory

_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
#: Where the kernels are in the image.
ROOT = "kregistry"


def write_image(directory: Path, tar: bytes, labels: dict[str, str], tag: str) -> str:
    """Write an image in the layout of the OCI image specification.

    Args:
        directory: where; a new one.
        tar: the uncompressed layer.
        labels: of the image.
        tag: its name in the layout.

    Returns:
        the digest of its manifest.

    Raises:
        StorageError: the directory cannot be written.
    """
    layer = compressed(tar)
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": [_digest(tar)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, config),
            "layers": [_descriptor(_LAYER, layer)],
            "annotations": labels,
        }
    )
    entry = {**_descriptor(_MANIFEST, manifest), "annotations": {"org.opencontainers.image.ref.name": tag}}
    index = _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [entry]})
    files = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": index}
    files |= {f"blobs/sha256/{hashlib.sha256(each).hexdigest()}": each for each in (layer, config, manifest)}
    with storage_errors(directory):
        final = directory.absolute()
        remove_leftovers(final.parent, ABANDONED_SECONDS, f".{final.name}.")
        scratch = final.with_name(scratch_name(f".{final.name}"))
        try:
            write_directory(scratch, files)
            scratch.rename(final)  # an empty directory gives way
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
    return _digest(manifest)


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}
