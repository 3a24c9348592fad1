"""What every tier must do, as tests: derive a class from :class:`TierContract` whose ``tier`` makes an empty tier.

class TestMyTier(TierContract):
    @pytest.fixture
    def tier(self) -> Tier: ...
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from kregistry.remote.tier import Tier

_BYTES = bytes(range(256)) * 300
_NAME = "v1/kernels/ab/abcdef"


class TierContract:
    """Run by pytest in a derived class."""

    def test_an_object_that_is_not_there_is_none(self, tier: Tier) -> None:
        assert tier.get(_NAME) is None
        assert not tier.has(_NAME)

    def test_an_object_comes_back_as_it_was_written(self, tier: Tier) -> None:
        tier.put(_NAME, _BYTES)
        assert tier.has(_NAME)
        assert tier.get(_NAME) == _BYTES
        assert tier.get(f"{_NAME}0") is None

    def test_an_empty_object_is_not_a_missing_one(self, tier: Tier) -> None:
        tier.put(_NAME, b"")
        assert (tier.get(_NAME), tier.has(_NAME)) == (b"", True)

    def test_writing_twice_is_no_error(self, tier: Tier) -> None:
        """The second write may win or lose; tasks run more than once on every cluster."""
        tier.put(_NAME, _BYTES)
        tier.put(_NAME, _BYTES)
        assert tier.get(_NAME) == _BYTES

    def test_a_reader_finds_all_of_an_object_or_nothing(self, tier: Tier) -> None:
        def write(number: int) -> None:
            tier.put(_NAME, _BYTES)

        with ThreadPoolExecutor(8) as threads:
            writes = [threads.submit(write, number) for number in range(8)]
            found = {tier.get(_NAME) for _ in range(20)}
        for each in writes:
            each.result()
        assert found <= {None, _BYTES}
        assert tier.get(_NAME) == _BYTES

    def test_many_objects_at_once(self, tier: Tier) -> None:
        names = [f"v1/kernels/{number:02x}/{number:064x}" for number in range(32)]
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda name: tier.put(name, name.encode()), names))
            assert list(threads.map(tier.get, names)) == [name.encode() for name in names]

    def test_it_has_a_name_without_secrets(self, tier: Tier) -> None:
        assert tier.name and "@" not in tier.name
