"""A chain of tiers: misses, back-fill, wrong content, and tiers that fail."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from memory_tier import MemoryTier
from object_server import ObjectServer, object_server
from small_kernels import small_kernel

from kregistry.errors import StorageError
from kregistry.kernel import Kernel
from kregistry.remote.chain import Chain, object_name
from kregistry.remote.location import Location
from kregistry.store import Store

pytestmark = [pytest.mark.stub, pytest.mark.nvcc]


@pytest.fixture
def empty(tmp_path: Path) -> Store:
    store = Store(tmp_path / "empty")
    store.open()
    return store


def test_what_one_machine_pushes_another_fetches(full: Store, empty: Store, kernel: Kernel, cubin: bytes) -> None:
    tier = MemoryTier("a")
    assert Chain([tier]).push(kernel.key, full)
    chain = Chain([tier])
    assert chain.fetch(kernel.key, empty)
    stored = empty.get(kernel.key)
    assert stored is not None and stored.cubin.read_bytes() == cubin
    assert (chain.use[0].hits, chain.use[0].misses, chain.use[0].errors) == (1, 0, 0)


def test_nearer_tiers_are_filled_and_read_only_ones_are_not(full: Store, empty: Store, kernel: Kernel) -> None:
    near, shut, far, farther = (
        MemoryTier("near"),
        MemoryTier("shut", read_only=True),
        MemoryTier("far"),
        MemoryTier("z"),
    )
    Chain([far]).push(kernel.key, full)
    assert Chain([near, shut, far, farther]).fetch(kernel.key, empty)
    assert near.objects == far.objects and shut.objects == {} and farther.requests == 0


def test_a_miss_everywhere(empty: Store, kernel: Kernel) -> None:
    chain = Chain([MemoryTier("a"), MemoryTier("b")])
    assert not chain.fetch(kernel.key, empty) and not chain.has(kernel.key)
    assert [each.misses for each in chain.use] == [2, 2]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"<html>please log in</html>",
        lambda content: content.replace(b'"seconds": 1.0', b'"seconds": 2.0'),
        lambda content: content.replace(b"kernel 1\n", b"kernel 1\n99999999999999999999"),
        lambda content: content + b"x",
    ],
)
def test_content_that_is_not_the_kernel_is_never_stored(
    full: Store, empty: Store, kernel: Kernel, spoil: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    tier, good = MemoryTier("a"), MemoryTier("b")
    Chain([tier, good]).push(kernel.key, full)
    name = object_name(kernel.key)
    assert spoil(tier.objects[name]) != tier.objects[name]
    tier.objects[name] = spoil(tier.objects[name])
    chain = Chain([tier])
    assert not chain.fetch(kernel.key, empty) and empty.get(kernel.key) is None
    assert chain.use[0].wrong == 1 and "is not used" in caplog.text
    assert Chain([tier, good]).fetch(kernel.key, empty)
    assert tier.objects == good.objects  # the wrong object was replaced


def test_a_right_object_under_another_key_is_refused(full: Store, empty: Store, kernel: Kernel) -> None:
    tier, other = MemoryTier("a"), small_kernel("other")
    Chain([tier]).push(kernel.key, full)
    tier.objects[object_name(other.key)] = tier.objects[object_name(kernel.key)]
    chain = Chain([tier])
    assert not chain.fetch(other.key, empty)
    assert chain.use[0].wrong == 1


def test_a_tier_that_fails_is_warned_of_once_and_is_soon_not_asked_any_more(
    full: Store, empty: Store, kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    broken, good = MemoryTier("broken", broken=True), MemoryTier("good")
    Chain([good]).push(kernel.key, full)
    chain = Chain([broken, good])
    for _ in range(5):
        assert chain.has(kernel.key)
    assert chain.fetch(kernel.key, empty)
    assert broken.requests == 3 and chain.use[0].off
    warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == 1 and "remote broken failed" in warnings[0].getMessage()
    assert "not asked any more after: no answer" in chain.summaries()[0]


def test_a_required_tier_that_fails_is_a_storage_error(empty: Store, kernel: Kernel) -> None:
    with pytest.raises(StorageError, match="remote broken: no answer"):
        Chain([MemoryTier("broken", broken=True)], required=True).fetch(kernel.key, empty)


def test_a_kernel_that_the_store_lacks_is_not_pushed(empty: Store, kernel: Kernel) -> None:
    tier = MemoryTier("a")
    assert not Chain([tier]).push(kernel.key, empty)
    assert tier.objects == {}


@pytest.fixture
def server() -> object:
    with object_server() as running:
        yield running


@pytest.mark.parametrize("fault", ["403", "500", "507", "redirect", "half", "flipped", "empty", "slow"])
def test_no_fault_of_a_server_harms_the_store(
    server: ObjectServer, full: Store, empty: Store, kernel: Kernel, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = Location.parse(f"{server.url}?unsigned")
    assert Chain.open([location]).push(kernel.key, full)
    server.fault = fault
    with monkeypatch.context() as impatient:
        if fault == "slow":
            impatient.setattr("kregistry.remote.object_tier._TIMEOUT", timedelta(seconds=1))
        chain = Chain.open([location])
    assert not chain.fetch(kernel.key, empty)
    assert empty.get(kernel.key) is None
    assert chain.use[0].errors + chain.use[0].wrong == 1
    server.fault = ""
    assert Chain.open([location]).fetch(kernel.key, empty)
