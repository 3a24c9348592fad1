"""A real S3-style server: the contract, racing builders, and a server that goes away in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve
from s3_server import CREDENTIALS, Server
from signing import signing_key

from kregistry.compile import BuildReport
from kregistry.kernel import Kernel
from kregistry.remote.chain import Chain, object_name
from kregistry.remote.contract import TierContract
from kregistry.remote.gate import TrustSettings
from kregistry.remote.location import Location
from kregistry.remote.object_tier import ObjectTier
from kregistry.remote.tier import Tier
from kregistry.store import Store
from kregistry.trust.policy import Policy
from kregistry.trust.seal import Signer

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": running.url}.items():
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
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": server.url}.items():
        monkeypatch.setenv(name, value)
    chain = Chain.open([Location.parse(server.bucket("killed"))])
    assert chain.push(kernel.key, session_store)
    server.stop()
    store = Store(tmp_path / "store")
    store.open()
    assert not chain.fetch(kernel.key, store)
    assert chain.use[0].errors == 1 and not any((store.directory / "kernels").iterdir())


def test_signed_kernels_of_racing_builders_are_each_whole_and_a_changed_one_is_refused(
    server: Server, session_store: Store, tiny_build: BuildReport, kernel: Kernel, tmp_path: Path
) -> None:
    """A signature and its kernel are one object, so no reader finds those of two builders."""
    location = Location.parse(server.bucket("signed").removesuffix("?unsigned"))
    signers = [TrustSettings(signer=Signer((signing_key(name),))) for name in "ab"]
    with ThreadPoolExecutor(8) as threads:
        chains = [Chain.open([location], signers[number % 2]) for number in range(8)]
        assert all(threads.map(lambda chain: chain.push(kernel.key, session_store), chains))
    reader = TrustSettings(Policy.of_keys(signing_key(name).public for name in "ab"))
    store = Store(tmp_path / "store")
    store.open()
    assert Chain.open([location], reader).fetch(kernel.key, store)
    tier = ObjectTier(evolve(location, read_only=False))
    content = tier.get(object_name(kernel.key))
    assert content is not None
    tier.put(object_name(kernel.key), content[:-1] + bytes([content[-1] ^ 1]))
    chain = Chain.open([location], reader)
    assert not chain.fetch(kernel.key, store) and chain.rejections[0].outcome == "digest-mismatch"
    stranger = Chain.open([location], TrustSettings(Policy.of_keys([signing_key("x").public])))
    assert not stranger.fetch(kernel.key, store) and stranger.rejections[0].outcome == "unknown-key"
