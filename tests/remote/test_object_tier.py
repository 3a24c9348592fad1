"""Every kind of tier keeps the contract."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from object_server import object_server

from kregistry.remote.contract import TierContract
from kregistry.remote.location import Location
from kregistry.remote.object_tier import ObjectTier
from kregistry.remote.tier import Tier, TierError
from kregistry.store.packed import MAX_BYTES


class TestDirectory(TierContract):
    @pytest.fixture
    def tier(self, tmp_path: Path) -> Tier:
        return ObjectTier(Location.parse(f"{tmp_path}/a b/ü?unsigned"))


class TestMemory(TierContract):
    @pytest.fixture
    def tier(self) -> Tier:
        return ObjectTier(Location.parse("memory:///?unsigned"))


class TestWebServer(TierContract):
    @pytest.fixture
    def tier(self) -> Iterator[Tier]:
        with object_server() as server:
            yield ObjectTier(Location.parse(f"{server.url}?unsigned"))


@pytest.mark.parametrize("fault", ["403", "401", "500", "redirect", "half"])
def test_a_server_that_fails_is_an_error_of_the_tier(fault: str) -> None:
    with object_server() as server:
        tier = ObjectTier(Location.parse(server.url))
        server.objects["/kernels/x"] = b"content"
        server.fault = fault
        with pytest.raises(TierError):
            tier.get("x")


def test_no_server_is_an_error_of_the_tier() -> None:
    with object_server() as server:
        tier = ObjectTier(Location.parse(server.url))
    with pytest.raises(TierError):
        tier.get("x")


def test_a_directory_that_is_only_read_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(TierError):
        ObjectTier(Location.parse(str(tmp_path / "none")))
    assert not (tmp_path / "none").exists()


def test_the_reason_is_whole_and_without_the_numbers_of_retries() -> None:
    with object_server() as server:
        tier = ObjectTier(Location.parse(server.url))
    with pytest.raises(TierError) as caught:
        tier.has("x")
    assert str(caught.value) == f"HEAD {server.url}/x: HTTP error: error sending request"


def test_a_directory_that_is_not_there_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(TierError, match=r"^no such directory$"):
        ObjectTier(Location.parse(str(tmp_path / "none")))


@pytest.mark.parametrize("url", ["gs://bucket/k", "az://container/k", "s3://bucket/k", "https://user:a-secret@host/k"])
def test_every_cloud_has_its_store_and_a_name_without_secrets(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked yet; what is asked of GCS and Azure was not tried."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "team")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "YS1zZWNyZXQ=")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    tier = ObjectTier(Location.parse(url))
    assert tier.name == url.replace("user:a-secret@", "") and tier.read_only


def test_what_azure_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(TierError, match="Account must be specified"):
        ObjectTier(Location.parse("az://container/k"))


def test_what_is_no_file_in_a_directory_is_not_waited_for(tmp_path: Path) -> None:
    tier = ObjectTier(Location.parse(f"{tmp_path}?unsigned"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for name in ("pipe", "directory"):
        assert (tier.has(name), tier.get(name)) == (False, None)
    tier.put("pipe", b"content")
    assert tier.get("pipe") == b"content"


def test_an_object_that_no_kernel_can_be_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(TierError, match="bytes is no kernel"):
        ObjectTier(Location.parse(str(tmp_path))).get("large")


def test_the_message_of_a_failed_request_has_no_password() -> None:
    with object_server() as server:
        url = server.url.replace("://", "://user:se%40cret@")
    tier = ObjectTier(Location.parse(url))
    with pytest.raises(TierError) as caught:
        tier.get("x")
    assert "se%40cret" not in str(caught.value) and "user" not in str(caught.value)
