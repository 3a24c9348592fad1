"""Where the range of a first call ends."""

from __future__ import annotations

import pytest

from kregistry import RunDimension
from kregistry.integrations.call_ranges import range_end


@pytest.mark.parametrize(
    ("name", "m", "largest", "end"),
    [("m", 3, 16384, 16384), ("m", 16385, 16384, 32768), ("m", 1, 0, 1), ("batch_size", 33, 16384, 64)],
)
def test_a_range_ends_at_the_engines_largest_number_of_tokens(name: str, m: int, largest: int, end: int) -> None:
    assert range_end(RunDimension(name, "tokens or requests", "rows"), m, largest) == end
