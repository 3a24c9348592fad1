"""OCI images: every digest is that of its content, and the layer is what was given."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
from pathlib import Path

import pytest

from kregistry.errors import StorageError
from kregistry.remote.bundle import tar_of
from kregistry.remote.oci_image import write_image
from kregistry.store import atomic


def blob(directory: Path, descriptor: dict[str, object]) -> bytes:
    content = (directory / "blobs" / str(descriptor["digest"]).replace(":", "/")).read_bytes()
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == descriptor["digest"]
    assert len(content) == descriptor["size"]
    return content


def test_an_image_is_complete_and_the_same_to_the_byte(tmp_path: Path) -> None:
    tar = tar_of([("kregistry/v1/kernels/ab/abc", b"content")])
    digests = {write_image(tmp_path / name, tar, {"k": "v"}, "v1") for name in "ab"}
    assert len(digests) == 1
    index = json.loads((tmp_path / "a" / "index.json").read_text())
    assert json.loads((tmp_path / "a" / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = index["manifests"]
    assert entry["digest"] in digests
    manifest = json.loads(blob(tmp_path / "a", entry))
    config = json.loads(blob(tmp_path / "a", manifest["config"]))
    (layer,) = manifest["layers"]
    assert gzip.decompress(blob(tmp_path / "a", layer)) == tar
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(tar).hexdigest()}"]
    files = {str(path.relative_to(tmp_path / "a")): path.read_bytes() for path in (tmp_path / "a").rglob("*.json")}
    assert files == {str(p.relative_to(tmp_path / "b")): p.read_bytes() for p in (tmp_path / "b").rglob("*.json")}


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = atomic.write_durably

    def write(path: Path, content: bytes) -> None:
        if path.name == "index.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, content)

    monkeypatch.setattr(atomic, "write_durably", write)
    with pytest.raises(StorageError):
        write_image(tmp_path / "image", b"tar", {}, "v1")
    assert list(tmp_path.iterdir()) == []
