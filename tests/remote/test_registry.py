"""A real registry takes our image, an independent tool reads it back, and its layer is a directory remote."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import Result

from kregistry.compile import BuildReport
from kregistry.plan.lock import write_lock
from kregistry.store import Store
from kregistry.toolchain import Toolchain

pytestmark = [pytest.mark.services, pytest.mark.stub, pytest.mark.nvcc]
_SECONDS = 120


@pytest.fixture
def registry_address(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = tmp_path / "registry.yml"
    storage = {"filesystem": {"rootdirectory": str(tmp_path / "registry")}}
    config.write_text(json.dumps({"version": 0.1, "storage": storage, "http": {"addr": address}}))
    with (tmp_path / "registry.log").open("w") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
    end = time.monotonic() + _SECONDS
    while True:
        try:
            urllib.request.urlopen(f"http://{address}/v2/", timeout=1).close()
            break
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
    yield address
    process.kill()
    process.wait()


def test_an_image_goes_through_a_registry(
    kregistry: Callable[..., Result],
    tiny_build: BuildReport,
    toolchain: Toolchain,
    session_store: Store,
    registry_address: str,
    tmp_path: Path,
) -> None:
    lock, image, back = tmp_path / "kernels.lock", tmp_path / "image", tmp_path / "back"
    write_lock(tiny_build.plan, lock, toolchain.cuda.compiler)
    made = kregistry("bundle", "--lock", lock, "--store", session_store.directory, "--oci", image, "--tag", "v1")
    assert made.code == 0
    remote = f"docker://{registry_address}/kernels/deepseek:v1"
    plain = ("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "--src-tls-verify=false")
    for arguments in ((f"oci:{image}:v1", remote), (remote, f"oci:{back}:v1")):
        done = subprocess.run([*plain, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    (entry,) = json.loads((back / "index.json").read_text())["manifests"]
    assert entry["digest"] in made.out
    manifest = json.loads((back / "blobs" / entry["digest"].replace(":", "/")).read_text())
    (layer,) = manifest["layers"]
    with tarfile.open(back / "blobs" / layer["digest"].replace(":", "/")) as tar:
        tar.extractall(tmp_path / "mounted", filter="data")
    shutil.rmtree(image)
    pulled = kregistry("pull", f"{tmp_path}/mounted/kregistry?unsigned", "--lock", lock, "--store", tmp_path / "store")
    assert (pulled.code, pulled.out) == (0, f"1 of 1 kernels are in {tmp_path / 'store'}\n")
