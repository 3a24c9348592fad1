"""A real S3-style server: the contract, racing builders, and a server that goes away in the middle."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kregistry.compile import BuildReport
from kregistry.kernel import Kernel
from kregistry.remote.chain import Chain
from kregistry.remote.contract import TierContract
from kregistry.remote.location import Location
from kregistry.remote.object_tier import ObjectTier
from kregistry.remote.tier import Tier
from kregistry.store import Store

pytestmark = pytest.mark.services
_SECONDS = 30


class Server:
    """moto's server, as a process of its own."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        program = shutil.which("moto_server") or str(Path(sys.executable).with_name("moto_server"))
        self.process = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(self.port)], stderr=subprocess.DEVNULL)
        end = time.monotonic() + _SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/moto-api/", timeout=1).close()
                return
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def bucket(self, name: str) -> str:
        request = urllib.request.Request(f"{self.url}/{name}", method="PUT")
        urllib.request.urlopen(request, timeout=10).close()
        return f"s3://{name}/kernels?unsigned"

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    variables = {"AWS_ENDPOINT_URL": running.url, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in {**variables, "AWS_REGION": "us-east-1"}.items():
            monkeypatch.setenv(name, value)
        yield running
    running.stop()


class TestS3(TierContract):
    @pytest.fixture
    def tier(self, server: Server, request: pytest.FixtureRequest) -> Tier:
        return ObjectTier(Location.parse(server.bucket(f"contract-{abs(hash(request.node.name))}")))


def test_two_builders_race_on_one_key_and_a_third_machine_reads_one_object(
    server: Server, session_store: Store, tiny_build: BuildReport, kernel: Kernel, tmp_path: Path
) -> None:
    location = Location.parse(server.bucket("race"))
    with ThreadPoolExecutor(16) as threads:
        done = list(threads.map(lambda _: Chain.open([location]).push(kernel.key, session_store), range(16)))
    assert all(done)
    store = Store(tmp_path / "store")
    store.open()
    chain = Chain.open([location])
    assert chain.fetch(kernel.key, store) and store.get(kernel.key) is not None
    assert (chain.use[0].hits, chain.use[0].wrong, chain.use[0].errors) == (1, 0, 0)


def test_a_bucket_that_does_not_exist_is_an_error_and_no_miss_without_a_word(server: Server, tmp_path: Path) -> None:
    chain = Chain.open([Location.parse("s3://nowhere/kernels?unsigned")])
    assert not chain.has("0" * 64)


def test_a_server_that_is_killed_is_a_tier_that_fails(
    session_store: Store, tiny_build: BuildReport, kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    chain = Chain.open([Location.parse(server.bucket("killed"))])
    assert chain.push(kernel.key, session_store)
    server.stop()
    store = Store(tmp_path / "store")
    store.open()
    assert not chain.fetch(kernel.key, store)
    assert chain.use[0].errors == 1 and not any((store.directory / "kernels").iterdir())
