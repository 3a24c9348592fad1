"""One tier of a chain: each request is counted once, and a tier that fails again and again is not asked any more."""

from __future__ import annotations

import logging

import pytest
from memory_tier import MemoryTier

from kregistry.errors import Rejection, StorageError
from kregistry.remote.chain import Chain
from kregistry.remote.chain_link import ChainLink
from kregistry.remote.gate import ClosedGate, Gate


def link(tier: MemoryTier, gate: Gate | None = None, required: bool = False) -> tuple[ChainLink, list[Rejection]]:
    rejections: list[Rejection] = []
    return ChainLink(tier, gate or Gate(), required=required, hint="look", rejections=rejections), rejections


def test_what_is_written_is_found_and_counted() -> None:
    one, _ = link(MemoryTier("near"))
    assert (one.has("a"), one.get("a"), one.put("a", b"four"), one.has("a")) == (False, None, True, True)
    assert (one.other("a", one.get("a")), one.other("a", None)) == (b"four", None)
    assert (one.use.hits, one.use.misses, one.use.written, one.use.bytes_written) == (1, 1, 1, 4)


def test_a_damaged_kernel_is_none_and_is_counted() -> None:
    one, rejections = link(MemoryTier("near"))
    assert one.kernel("ab" * 32, b"no kernel") is None and one.kernel("ab" * 32, None) is None
    assert (one.use.wrong, one.use.misses, one.use.bytes_read, rejections) == (1, 1, 9, [])


def test_what_the_gate_refuses_is_kept_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    one, rejections = link(MemoryTier("near"), ClosedGate())
    for _ in range(2):
        assert one.kernel("ab" * 32, b"x") is None and not one.wants("ab" * 32, b"x")
    assert [(each.remote, each.outcome) for each in rejections] == [("near", "no-policy")] * 2
    assert one.use.refused == {"no-policy": 2} and len(caplog.records) == 1


def test_a_tier_that_fails_three_times_in_a_row_is_given_up_after_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    tier = MemoryTier("far", broken=True)
    one, _ = link(tier)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert one.get("a") is None and not one.put("a", b"x")
    assert (tier.requests, one.use.errors, one.use.off, one.use.last_error) == (3, 3, True, "no answer")
    assert len(caplog.records) == 1
    required, _ = link(MemoryTier("far", broken=True), required=True)
    with pytest.raises(StorageError, match="no answer"):
        required.get("a")


def test_an_object_is_written_to_the_tiers_behind_one_that_fails() -> None:
    far = MemoryTier("far")
    assert not Chain([MemoryTier("near", broken=True), far]).write("a", b"x")
    assert far.objects == {"a": b"x"}
